package dynamo

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/matryer/is"
)

func TestOnlyWhatIsWorthItIsPacked(t *testing.T) {
	is := is.New(t)
	small := []byte(`{"text":"hello"}`)
	is.Equal(string(pack(small)), string(small))
	large := []byte(`{"text":"` + strings.Repeat("hello ", 1000) + `"}`)
	is.True(len(pack(large)) < len(large)/10)
}

// What is packed may be a thousand times as large: it is not unpacked beyond what an answer may have.
func TestWhatUnpacksWithoutAnEndIsReadToItsLimit(t *testing.T) {
	is := is.New(t)
	bomb := pack(bytes.Repeat([]byte(" "), 320<<20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := unpack(bomb)
	runtime.ReadMemStats(&after)
	is.True(err != nil && strings.Contains(err.Error(), "more than"))
	is.True(after.TotalAlloc-before.TotalAlloc < 320<<20) // a buffer that grows to 40 MB
}

func FuzzUnpack(f *testing.F) { // whatever is in the table, it is JSON again, itself, or an error
	f.Add([]byte(`{"text":"hello"}`))
	f.Add(pack([]byte(`"` + strings.Repeat("hello ", 1000) + `"`)))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		is := is.New(t)
		raw, err := unpack(b)
		if err == nil && !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
			is.Equal(string(raw), string(b))
		}
		text, err := json.Marshal(string(b))
		is.NoErr(err)
		raw, err = unpack(pack(text))
		is.NoErr(err)
		is.Equal(string(raw), string(text))
	})
}
