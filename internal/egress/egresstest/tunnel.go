package egresstest

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// OpenTunnel is the response of a proxy that has opened a tunnel.
const OpenTunnel = "HTTP/1.1 200 Connection established\r\n\r\n"

// Tunnels returns the script of an HTTP proxy that supports CONNECT. For each request
// decide returns the bytes to answer with and the address to which the tunnel leads. If
// the address is "", there is no tunnel.
func Tunnels(decide func(r *http.Request) (answer, to string)) Script {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		answer, to := decide(req)
		var far net.Conn
		if to != "" {
			if far, err = net.Dial("tcp", to); err != nil {
				answer = "HTTP/1.1 502 Bad Gateway\r\n\r\n"
			}
		}
		_, err = io.WriteString(c, answer)
		if far == nil {
			return
		}
		defer far.Close()
		if err != nil {
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			io.Copy(far, in)
			far.Close()
		}()
		io.Copy(c, far)
		c.Close()
		<-done
	}
}
