package statsd_test

import (
	"fmt"
	"net"
	"time"

	"salvage/metrics"
	"salvage/metrics/statsd"
)

func Example() {
	agent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer agent.Close()

	client, err := statsd.Dial(agent.LocalAddr().String(), statsd.Options{DogStatsD: true, Prefix: "shop"})
	if err != nil {
		panic(err)
	}
	r := metrics.New("web")
	r.Configure(metrics.Output{Backend: client, Name: "dogstatsd", Every: time.Second, Aggregate: true, Tags: []string{"host:web1"}})
	orders := r.Counter("orders", "Orders.", metrics.Tag("paid", "yes", "no"))
	orders.With("yes").Add(2)
	orders.With("yes").Inc()
	r.Timer("request", "Time of a request.").Observe(1500 * time.Microsecond)
	r.Configure() // the last flush

	datagram := make([]byte, 1500)
	n, _, err := agent.ReadFrom(datagram)
	fmt.Print(string(datagram[:n]), err)
	// Output:
	// shop.web.request:1.5|ms|#host:web1
	// shop.web.orders:3|c|#paid:yes,host:web1
	// <nil>
}
