// Package loopback keeps web pages away from servers that are for this machine only and ask for no credential. A page that is
// open in a browser here can send requests to loopback, and can give its own host an address on loopback (DNS rebinding).
package loopback

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Guard answers 403 to a request whose Host is no name of loopback and none of others, or whose Origin is foreign, and lets h
// answer the rest. others are host names, without a port. It may be used from several goroutines.
func Guard(h http.Handler, others ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch name := hostname(r.Host); {
		case !Named(name) && !slices.ContainsFunc(others, func(other string) bool { return other != "" && strings.EqualFold(other, name) }):
			http.Error(w, `{"error":"for this machine: the Host header names none of its loopback names"}`, http.StatusForbidden)
		case foreign(r):
			http.Error(w, `{"error":"not for browsers: the Origin header is foreign"}`, http.StatusForbidden)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// Named reports whether a host name, or an address, is loopback's by what it is called: nothing is looked up.
func Named(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// hostname is a Host header without the port.
func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// foreign reports whether a browser sent the request for a page that does not come from the server itself.
func foreign(r *http.Request) bool {
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return true
		}
	}
	return r.Header.Get("Sec-Fetch-Site") == "cross-site"
}
