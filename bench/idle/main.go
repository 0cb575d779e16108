// Command idle starts a server, waits until it answers, leaves it alone for a while, prints how long the start
// took and what memory it holds, and ends it: idle -url URL [-seconds N] COMMAND ARG…
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

var field = regexp.MustCompile(`(?m)^(RssAnon|RssShmem|VmHWM):\s+(\d+) kB`)

func main() {
	url := flag.String("url", "", "URL that answers 200 once the server is up")
	seconds := flag.Int("seconds", 60, "how long to leave it alone")
	flag.Parse()
	cmd := exec.Command(flag.Arg(0), flag.Args()[1:]...)
	cmd.Stderr = os.Stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	for {
		res, err := http.Get(*url)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == 200 {
				break
			}
		}
		if time.Since(start) > 30*time.Second {
			_ = cmd.Process.Kill()
			log.Fatal("the server does not answer")
		}
		time.Sleep(2 * time.Millisecond)
	}
	fmt.Printf("start_ms=%d", time.Since(start).Milliseconds())
	time.Sleep(time.Duration(*seconds) * time.Second)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		log.Fatal(err)
	}
	kB := map[string]int{}
	for _, m := range field.FindAllStringSubmatch(string(status), -1) {
		kB[m[1]], _ = strconv.Atoi(m[2])
	}
	fmt.Printf(" own_MB=%.1f most_MB=%.1f\n", float64(kB["RssAnon"]+kB["RssShmem"])*1024/1e6, float64(kB["VmHWM"])*1024/1e6)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		log.Fatal(err)
	}
}
