package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// hostile are values that sam's parser changes if they are not written with care.
var hostile = []string{
	"", " ", "plain", "two words", ` leading and trailing `, `"`, `'`, `""`, `''`, `"quoted"`, `'quoted'`, `say "hi"`, `it's`, `a\b`,
	`ends in \`, `\`, `\\`, `\"`, `\\"`, `\'`, `\ `, `\\ \" \'`, `a=b c=d`, `a,b,,c`, `$HOME ${X} $(ls)`, "line\nbreak", "tab\there", `#x`,
	`{"DORMOUSE_APOLOGY":"say \"hi\" \\ there","DORMOUSE_STOP":"/halt"}`, `discord=1234,telegram=5678`, "ümläut 🤔", `[1, 2]`, "~", "null",
	"true", "0x10", "1e3", `ParameterKey=A,ParameterValue=B`, `file://x.yaml`, `"a" "b"`, `'a' and 'b'`, "\u007f", "%s",
}

func TestAFileOfOursIsReadBackAsItWas(t *testing.T) {
	is := is.New(t)
	path := filepath.Join(t.TempDir(), "samconfig.toml")
	_, there, err := readSamConfig(path)
	is.NoErr(err)
	is.True(!there)
	parameters := map[string]string{}
	for i, value := range hostile {
		parameters["P"+strings.Repeat("x", i)] = value
	}
	is.NoErr(writeSamConfig(path, "stack", "eu-west-1", parameters))
	info, err := os.Stat(path)
	is.NoErr(err)
	is.Equal(info.Mode().Perm(), os.FileMode(0o600))
	c, there, err := readSamConfig(path)
	is.NoErr(err)
	is.True(there)
	is.Equal(c.Default.Deploy.Parameters.Overrides, parameters)
	is.Equal(c.Default.Global.Parameters, samGlobal{"stack", "eu-west-1"})

	is.NoErr(os.WriteFile(path, []byte("version = 0.1\n"), 0o600))
	_, _, err = readSamConfig(path)
	is.True(err != nil && strings.Contains(err.Error(), "dormouse init did not write it: move it away"))
	is.NoErr(os.WriteFile(path, []byte(samMark+"\nx = ["), 0o600))
	_, _, err = readSamConfig(path)
	is.True(err != nil && strings.Contains(err.Error(), "mend it"))
	is.True(writeSamConfig(filepath.Join(t.TempDir(), "none", "x"), "s", "r", nil) != nil)
}

func FuzzSamQuote(f *testing.F) { // whatever a value is, sam's reading of what is written is the value
	for _, value := range hostile {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		is.New(t).Equal(samUnquote(samQuote(value)), value)
	})
}
