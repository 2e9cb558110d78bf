package devtable_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/devtable"
)

// The test's own program is also what is killed and frozen: with one of these variables it is no test.
const (
	ownerVariable  = "DEVTABLE_TEST_OWNER"  // the folder of the table that it serves
	clientVariable = "DEVTABLE_TEST_CLIENT" // the URL that it asks, and gets stuck
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerVariable); dir != "" {
		own(dir)
	}
	if url := os.Getenv(clientVariable); url != "" {
		stick(url)
	}
	goleak.VerifyTestMain(m)
}

// own serves a table until the process is killed.
func own(dir string) {
	s, err := devtable.Open(filepath.Join(dir, "table.db"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s.Serve(listener)
	fmt.Println("http://" + listener.Addr().String())
	select {}
}

// stick opens two connections: on one it says half a request, on the other a whole one, whose answer it never reads.
func stick(url string) {
	whole := `{"TableName":"Talk","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"many"}}}`
	for _, sent := range []int{len(whole) / 2, len(whole)} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			panic(err)
		}
		conn.(*net.TCPConn).SetReadBuffer(4096)
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Target: DynamoDB_20120810.Query\r\nContent-Length: %d\r\n\r\n%s", len(whole), whole[:sent])
	}
	fmt.Println("stuck")
	select {}
}

// child starts the test's own program with a variable, and returns the first line that it says.
func child(t *testing.T, variable, value string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable+"="+value)
	out, err := cmd.StdoutPipe()
	is.New(t).NoErr(err)
	is.New(t).NoErr(cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	is.New(t).NoErr(err)
	return cmd, strings.TrimSpace(line)
}

// pair is a transaction of two items that belong together; one of them is in the index.
func pair(worker, n int) map[string]any {
	put := func(sk string, more map[string]any) map[string]any {
		it := map[string]any{"pk": text("p"), "sk": text(sk), "n": map[string]string{"N": strconv.Itoa(n)}, "pad": text(strings.Repeat("x", 3000))}
		for name, v := range more {
			it[name] = v
		}
		return map[string]any{"Put": map[string]any{"TableName": "Talk", "Item": it}}
	}
	name := fmt.Sprintf("%d-%06d", worker, n)
	return map[string]any{"TransactItems": []any{put("a#"+name, map[string]any{"open": text("o#" + name)}), put("b#"+name, nil)}}
}

func text(s string) map[string]string { return map[string]string{"S": s} }

// all reads the sort keys under a prefix, page by page.
func all(t *testing.T, url, index, name, prefix string) (found []string) {
	t.Helper()
	in := map[string]any{
		"TableName": "Talk", "KeyConditionExpression": "pk = :p AND begins_with(#k, :x)", "ExpressionAttributeNames": map[string]string{"#k": name},
		"ExpressionAttributeValues": map[string]any{":p": text("p"), ":x": text(prefix)},
	}
	if index != "" {
		in["IndexName"] = index
	}
	for {
		status, kind, out := ask(t, url, "Query", in)
		if status != http.StatusOK {
			t.Fatal(kind, out)
		}
		for _, it := range out["Items"].([]any) {
			found = append(found, it.(map[string]any)[name].(map[string]any)["S"].(string))
		}
		if out["LastEvaluatedKey"] == nil {
			return found
		}
		in["ExclusiveStartKey"] = out["LastEvaluatedKey"]
	}
}

// TestWhatWasAnsweredOutlivesAKill kills the owner in the midst of writes, time and again. What it had answered is there, a
// transaction is whole or not there at all, and the index says what the items say.
func TestWhatWasAnsweredOutlivesAKill(t *testing.T) {
	is := is.New(t)
	dir := t.TempDir()
	var mu sync.Mutex
	answered, next := map[string]bool{}, map[int]int{}
	for round := range 3 {
		owner, url := child(t, ownerVariable, dir)
		if round == 0 {
			status, _, _ := ask(t, url, "CreateTable", definition)
			is.Equal(status, http.StatusOK)
		}
		enough := make(chan struct{})
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for {
					mu.Lock()
					n := next[worker]
					next[worker]++
					mu.Unlock()
					if !posted(url, "TransactWriteItems", pair(worker, n)) {
						return // the owner is dead
					}
					mu.Lock()
					answered[fmt.Sprintf("%d-%06d", worker, n)] = true
					if len(answered) == 60*(round+1) {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		is.NoErr(owner.Process.Signal(syscall.SIGKILL))
		owner.Wait()
		wg.Wait()
	}

	url := serve(t, open(t, dir)).URL
	names := func(keys []string) map[string]bool {
		set := map[string]bool{}
		for _, key := range keys {
			set[key[2:]] = true
		}
		return set
	}
	first, second, indexed := names(all(t, url, "", "sk", "a#")), names(all(t, url, "", "sk", "b#")), names(all(t, url, "open", "open", "o#"))
	for name := range answered {
		is.True(first[name])
	}
	is.Equal(first, second)
	is.Equal(first, indexed)
	t.Logf("%d transactions were answered, %d are there", len(answered), len(first))
}

// posted reports whether a request was answered with success.
func posted(url, op string, in any) bool {
	resp, err := post(url, op, in)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// TestAFrozenClientHoldsNothingUp: a process that is stopped in the midst of a request, or before it has read an answer of a
// megabyte, holds no lock, and the table can be closed and opened again.
func TestAFrozenClientHoldsNothingUp(t *testing.T) {
	is := is.New(t)
	dir := t.TempDir()
	s := open(t, dir)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	is.NoErr(err)
	url := "http://" + listener.Addr().String()
	s.Serve(listener)
	ask(t, url, "CreateTable", definition)
	for i := range 4 {
		is.True(posted(url, "PutItem", map[string]any{"TableName": "Talk", "Item": map[string]any{
			"pk": text("many"), "sk": text(fmt.Sprint(i)), "pad": text(strings.Repeat("x", 390<<10)),
		}}))
	}
	client, said := child(t, clientVariable, url)
	is.Equal(said, "stuck")
	is.NoErr(client.Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	for n := range 50 {
		is.True(posted(url, "TransactWriteItems", pair(0, n)))
	}
	is.True(time.Since(began) < 20*time.Second)
	is.NoErr(s.Close())
	is.Equal(len(all(t, serve(t, open(t, dir)).URL, "", "sk", "a#")), 50)
}

func TestATableHasOneOwner(t *testing.T) {
	is := is.New(t)
	dir := t.TempDir()
	s := open(t, dir)
	_, said := child(t, ownerVariable, dir)
	is.True(strings.Contains(said, devtable.ErrInUse.Error()))
	is.True(strings.Contains(said, filepath.Join(dir, "table.db"))) // it says which file
	_, err := devtable.Open(filepath.Join(dir, "table.db"))
	is.True(errors.Is(err, devtable.ErrInUse))
	is.NoErr(s.Close())
	open(t, dir)
}
