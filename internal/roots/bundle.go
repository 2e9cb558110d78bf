package roots

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"sync"
	"sync/atomic"
)

// bundles are the files that hold all roots on Amazon Linux and on Debian.
var bundles = []string{"/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"}

// cpus are how many there are while a function starts.
const cpus = 2

// bundle is a file of roots that is being parsed.
type bundle struct {
	parsing   sync.WaitGroup
	abandoned atomic.Bool

	mu   sync.Mutex
	pool *x509.CertPool
	n    int // roots in pool
}

// newBundle starts parsing the first bundle that can be read. There may be none.
func newBundle() *bundle {
	b := &bundle{pool: x509.NewCertPool()}
	b.parsing.Go(func() {
		for _, file := range bundles {
			if text, err := os.ReadFile(file); err == nil {
				b.parse(text)
				return
			}
		}
	})
	return b
}

// roots waits until everything is parsed. A pool without roots means that there is no bundle that holds one.
func (b *bundle) roots() (pool *x509.CertPool, n int) {
	b.parsing.Wait()
	return b.pool, b.n
}

// abandon ends the parsing early: nobody asks for the roots.
func (b *bundle) abandon() { b.abandoned.Store(true) }

// parse adds the certificates of text to the pool. The CPUs take one after the other, whichever has time. As x509 does, it
// leaves out what cannot be parsed.
func (b *bundle) parse(text []byte) {
	blocks := split(text)
	var taken atomic.Int64
	work := func() {
		for {
			i := int(taken.Add(1)) - 1
			if i >= len(blocks) || b.abandoned.Load() {
				return
			}
			b.add(blocks[i])
		}
	}
	var others sync.WaitGroup
	for range cpus - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}

func (b *bundle) add(block []byte) {
	der := decode(block)
	if der == nil {
		return
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pool.AddCert(cert)
	b.n++
}

const (
	beginning = "-----BEGIN "
	head      = beginning + "CERTIFICATE-----\n"
	tail      = "-----END CERTIFICATE-----"
)

// split cuts text in front of each line that begins a PEM block. What is in front of the first one is left out.
func split(text []byte) (blocks [][]byte) {
	start := -1
	for at := 0; ; {
		i := bytes.Index(text[at:], []byte(beginning))
		if i < 0 {
			break
		}
		at += i
		if at == 0 || text[at-1] == '\n' {
			if start >= 0 {
				blocks = append(blocks, text[start:at])
			}
			start = at
		}
		at += len(beginning)
	}
	if start >= 0 {
		blocks = append(blocks, text[start:])
	}
	return blocks
}

// decode returns what pem.Decode makes of a certificate's block, or nil. It does the form that tools write, which has no
// headers and whole groups of four in each line, in a third of the time.
func decode(block []byte) []byte {
	if body, ok := bytes.CutPrefix(block, []byte(head)); ok {
		if body, rest, ok := bytes.Cut(body, []byte(tail)); ok && (len(rest) == 0 || rest[0] == '\n') {
			if der := decodeLines(body); der != nil {
				return der
			}
		}
	}
	found, _ := pem.Decode(block)
	if found == nil || found.Type != "CERTIFICATE" || len(found.Headers) != 0 {
		return nil
	}
	return found.Bytes
}

// decodeLines decodes lines of base64, each of which ends and has whole groups; nil means that they are of another form.
func decodeLines(lines []byte) []byte {
	der := make([]byte, base64.StdEncoding.DecodedLen(len(lines)))
	n := 0
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n')
		if n%3 != 0 || end <= 0 || end%4 != 0 { // nothing may follow a padded group
			return nil
		}
		m, err := base64.StdEncoding.Decode(der[n:], lines[:end])
		if err != nil {
			return nil
		}
		n, lines = n+m, lines[end+1:]
	}
	return der[:n]
}
