package main

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"salvage/config/configtest"
	"salvage/metrics/metricstest"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := server(t)
	r, recorded := metricstest.New(t)
	var o options
	configtest.Load(t, &o, map[string]string{"targets": s.URL})
	o.probe.ask(t.Context(), o.probe.targets[0], newMetrics(r))
	recorded.Counter("answers").Tags("state:ill").Once()
	recorded.Counter("answers").Tags("state:well").Never()
	recorded.Timer("took").Once()
}

// The numbers of a whole run reach a statsd server, and the summary the log.
func TestOutputs(t *testing.T) {
	agent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	var out, stderr bytes.Buffer
	run(t.Context(), []string{"-targets", server(t).URL, "-metrics-statsd", agent.LocalAddr().String()}, &out, &stderr)
	datagram := make([]byte, 1500)
	agent.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, _, err := agent.ReadFrom(datagram)
	if err != nil || !strings.Contains(string(datagram[:n]), "probe.answers.state.ill:1|c") || !strings.Contains(string(datagram[:n]), "probe.took:") {
		t.Errorf("datagram %q, %v", datagram[:n], err)
	}
	if !strings.Contains(stderr.String(), `msg="ROLLUP INCR probe.answers #state:ill: count:1|rate:1/1"`) {
		t.Errorf("log: %s", &stderr)
	}
}
