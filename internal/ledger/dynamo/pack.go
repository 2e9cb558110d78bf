package dynamo

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
)

const (
	worthPacking = 1 << 10  // a write unit: fewer bytes cost the same
	mostUnpacked = 40 << 20 // JSON of an answer of 6 MiB, were each of its bytes to be escaped
)

// pack compresses JSON if that makes it smaller. JSON cannot begin as gzip does, so unpack knows which it is.
func pack(raw []byte) []byte {
	if len(raw) <= worthPacking {
		return raw
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return raw
	}
	w.Write(raw) // to memory: it does not fail
	w.Close()    // nor does it
	if b.Len() >= len(raw) {
		return raw
	}
	return b.Bytes()
}

func unpack(packed []byte) ([]byte, error) {
	if !bytes.HasPrefix(packed, []byte{0x1f, 0x8b}) {
		return packed, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(r, mostUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	if len(raw) > mostUnpacked {
		return nil, fmt.Errorf("unpacking: more than %d bytes", mostUnpacked)
	}
	return raw, nil
}
