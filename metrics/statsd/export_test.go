package statsd

import "net"

// NewClient returns a client over a connection that a test controls.
func NewClient(conn net.Conn, o Options) *Client { return newClient(conn, o) }
