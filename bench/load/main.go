// Command load posts one body again and again from several clients, to this machine only, and prints
// requests_per_second and the time a request took. A body that starts with "{" is a request for JSON, any
// other a crash.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	target := flag.String("url", "", "loopback URL to post to")
	clients := flag.Int("clients", 8, "requests in flight")
	requests := flag.Int("requests", 1000, "requests to make")
	body := flag.String("body", "", "file of the body, as gen body wrote it")
	flag.Parse()
	u, err := url.Parse(*target)
	if err != nil {
		log.Fatal(err)
	}
	if a, err := netip.ParseAddrPort(u.Host); err != nil || !a.Addr().IsLoopback() {
		log.Fatalf("%s is not a loopback address with a port", u.Host)
	}
	data, err := os.ReadFile(*body)
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: *clients}}
	var left atomic.Int64
	left.Store(int64(*requests))
	times := make([][]time.Duration, *clients)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range *clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				began := time.Now()
				if err := post(client, *target, data); err != nil {
					log.Fatal(err)
				}
				times[i] = append(times[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	wall := time.Since(start)
	all := slices.Sorted(slices.Values(slices.Concat(times...)))
	fmt.Printf("requests_per_second=%.1f p50_ms=%.2f p99_ms=%.2f\n", float64(len(all))/wall.Seconds(),
		all[len(all)/2].Seconds()*1e3, all[len(all)*99/100].Seconds()*1e3)
}

func post(client *http.Client, target string, body []byte) error {
	r, err := http.NewRequest("POST", target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	prefix := "CrashID="
	if body[0] == '{' {
		prefix = "{"
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.Header.Set("Content-Encoding", "gzip")
		r.Header.Set("Content-Type", "multipart/form-data; boundary=bench")
	}
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<24))
	if err != nil {
		return err
	}
	if res.StatusCode != 200 || !strings.HasPrefix(string(text), prefix) {
		return fmt.Errorf("%s: %.1000s", res.Status, text)
	}
	return nil
}
