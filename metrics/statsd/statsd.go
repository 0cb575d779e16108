// Package statsd sends metrics to a statsd server or a Datadog agent, in UDP datagrams.
//
//	client, err := statsd.Dial("127.0.0.1:8125", statsd.Options{DogStatsD: true})
//	…
//	registry.Configure(metrics.Output{Backend: client, Name: "dogstatsd", Every: time.Second, Aggregate: true})
//
// Events become lines, lines fill datagrams, and a goroutine sends those. Nobody waits for the network: where
// it does not keep up, whole datagrams are dropped, and their events counted.
package statsd

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"salvage/metrics"
)

// Options are what a Client may be told.
type Options struct {
	// DogStatsD writes the lines of Datadog's protocol, with tags and histograms. Those of plain statsd have
	// neither: a histogram is sent as a timing, and tags become parts of the key, "key.result.accept".
	DogStatsD bool
	DropTags  bool   // leaves tags away in plain statsd; gauges that differ by tag overwrite each other
	Prefix    string // goes before each key, with a dot
	MaxSize   int    // of a datagram, in bytes; 0 is 1432 for DogStatsD and else 512. A longer line goes alone
	Queue     int    // datagrams that may wait to be sent; 0 is 256
}

// Client is a backend of metrics. Close ends it.
type Client struct {
	Options
	conn  net.Conn
	queue chan *datagram
	sent  chan struct{} // closed when all are
	lost  atomic.Int64

	mu      sync.Mutex
	closed  bool
	filling *datagram
}

type datagram struct {
	lines  []byte // each with its line feed
	events int
}

var pool = sync.Pool{New: func() any { return new(datagram) }}

// Dial returns a client that sends to the server at addr, "host:port". The name is looked up now and not
// again. Whether somebody listens there is not known.
func Dial(addr string, o Options) (*Client, error) {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("statsd: %w", err)
	}
	return newClient(conn, o), nil
}

func newClient(conn net.Conn, o Options) *Client {
	if o.MaxSize == 0 {
		o.MaxSize = 512
		if o.DogStatsD {
			o.MaxSize = 1432
		}
	}
	if o.Queue == 0 {
		o.Queue = 256
	}
	if o.Prefix = strings.Trim(o.Prefix, "."); o.Prefix != "" {
		o.Prefix = string(clean(nil, o.Prefix+".", ":"))
	}
	c := &Client{Options: o, conn: conn, queue: make(chan *datagram, o.Queue), sent: make(chan struct{}), filling: new(datagram)}
	go c.send()
	return c
}

func (c *Client) send() {
	defer close(c.sent)
	for d := range c.queue {
		b := d.lines
		if !c.DogStatsD {
			b = b[:len(b)-1] // pystatsd, and the server's example, end without
		}
		if _, err := c.conn.Write(b); err != nil {
			c.lost.Add(int64(d.events))
		}
		pool.Put(d)
	}
}

// Emit adds the event to the datagram being filled. One that is no number is lost.
func (c *Client) Emit(e metrics.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || e.Value-e.Value != 0 {
		c.lost.Add(1)
		return
	}
	d := c.filling
	before := len(d.lines)
	d.lines = c.append(d.lines, e)
	size := len(d.lines)
	if !c.DogStatsD {
		size--
	}
	if before > 0 && size > c.MaxSize {
		next := pool.Get().(*datagram)
		next.lines, next.events = append(next.lines[:0], d.lines[before:]...), 0
		d.lines = d.lines[:before]
		c.enqueue()
		c.filling = next
	}
	c.filling.events++
}

// enqueue passes on the datagram being filled, if there is room.
func (c *Client) enqueue() {
	select {
	case c.queue <- c.filling:
	default:
		c.lost.Add(int64(c.filling.events))
		pool.Put(c.filling)
	}
}

// Flush sends what is there without waiting, and returns how many events were lost since the last Flush.
func (c *Client) Flush(time.Duration) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && len(c.filling.lines) > 0 {
		c.enqueue()
		c.filling = pool.Get().(*datagram)
		c.filling.lines, c.filling.events = c.filling.lines[:0], 0
	}
	return int(c.lost.Swap(0))
}

// Close sends what is there, for at most a second, and ends the client. Events that were lost since the last
// Flush are an error.
func (c *Client) Close() error {
	c.mu.Lock()
	wasClosed := c.closed
	c.closed = true
	c.mu.Unlock()
	if wasClosed {
		return nil
	}
	err := c.conn.SetWriteDeadline(time.Now().Add(time.Second))
	if len(c.filling.lines) > 0 {
		c.queue <- c.filling
	}
	close(c.queue)
	<-c.sent
	err = errors.Join(err, c.conn.Close())
	if n := c.lost.Swap(0); n > 0 {
		err = errors.Join(err, fmt.Errorf("statsd: %d events were lost", n))
	}
	return err
}

// append adds the lines of an event.
func (c *Client) append(b []byte, e metrics.Event) []byte {
	value := e.Value
	if e.Kind == metrics.KindTimer {
		value = e.Milliseconds()
	}
	if !c.DogStatsD && e.Kind == metrics.KindGauge && value < 0 {
		b = append(c.key(b, e), ":0|g\n"...) // with a sign, a value is a change
	}
	b = append(c.key(b, e), ':')
	if !c.DogStatsD && (e.Kind == metrics.KindTimer || e.Kind == metrics.KindHistogram) {
		return append(strconv.AppendFloat(b, value, 'f', 6, 64), "|ms\n"...)
	}
	b = append(strconv.AppendFloat(b, value, 'f', -1, 64), [...]string{"|c", "|g", "|h", "|ms"}[e.Kind]...)
	if c.DogStatsD {
		for i, t := range e.Tags {
			b = clean(append(b, [...]string{"|#", ","}[min(i, 1)]...), t, "")
		}
	}
	return append(b, '\n')
}

func (c *Client) key(b []byte, e metrics.Event) []byte {
	b = clean(append(b, c.Prefix...), e.Key, ":")
	if c.DogStatsD || c.DropTags {
		return b
	}
	for _, t := range e.Tags {
		name, value, _ := strings.Cut(t, ":")
		if b = clean(append(b, '.'), name, ":./"); value != "" {
			b = clean(append(b, '.'), value, ":./")
		}
	}
	return b
}

// clean adds s without control characters, those that have a meaning in every line, and more; a filter may
// have put them there.
func clean(b []byte, s, more string) []byte {
	for i := range len(s) {
		c := s[i]
		if c < ' ' || strings.IndexByte(",|#@", c) >= 0 || strings.IndexByte(more, c) >= 0 {
			c = '_'
		}
		b = append(b, c)
	}
	return b
}
