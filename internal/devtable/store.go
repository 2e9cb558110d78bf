// Package devtable is a durable table for development: the part of DynamoDB's HTTP API that the ledger and the command line
// use, over one file (bbolt). dormouse dev, host and chat serve it on loopback, and whatever takes AWS_ENDPOINT_URL_DYNAMODB
// reaches it: the built functions and every command, unchanged.
//
// # What it has
//
// Tables with a text partition key and a text sort key, on demand, with local secondary indexes of KEYS_ONLY; GetItem,
// BatchGetItem, Query, Scan, PutItem, UpdateItem, DeleteItem, TransactWriteItems and TransactGetItems, with their
// expressions, limits, pages, capacity units and idempotency tokens; and time to live. Errors are DynamoDB's, by type. What
// is not there, an operation, a parameter, a function of an expression, is refused by its name: nothing is ever ignored.
// Reads are always consistent, and no transaction conflicts with another, as there is one writer at a time.
//
// # Durability
//
// A write is answered once it is on disk. One process owns the file; a second one that opens it is told so. Requests are
// read to their end before a transaction begins, and answered after it: a client that is frozen or killed holds nothing up.
// What kills the owner leaves whole writes, the last of which may not have been answered.
//
// Serve starts the server's goroutines and a sweep of what has expired, and Close ends them. Every request blocks until the
// disk has it. All methods may be called from any goroutine.
package devtable

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/dormouse-relay/dormouse/internal/loopback"
)

// ErrInUse means that another process has the file.
var ErrInUse = errors.New("devtable: another process has this table")

const (
	openTime   = time.Second      // how long another owner is waited for
	clientTime = 30 * time.Second // for a request and for its answer: a frozen client's connection ends then
	sweepEvery = 10 * time.Minute
)

// Buckets of the file. That of a table has its items, that of an index its keys.
var (
	bucketTables = []byte("tables") // definitions, by name
	bucketTokens = []byte("tokens") // of transactions that were made
)

// Store is an open file of tables.
type Store struct {
	// Now is the clock. Tests set another before the first call.
	Now func() time.Time

	db     *bbolt.DB
	server *http.Server
	wg     sync.WaitGroup
	close  context.CancelFunc
	closed context.Context
	faults faults

	writeUnits, readUnits atomic.Int64 // in halves

	mu     sync.Mutex
	tables map[string]*table // what is in bucketTables
}

// Open opens the file at path, which it makes if there is none, with its folders. If another process has it, the error is
// ErrInUse.
func Open(path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the development table: %w", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openTime, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the development table %s: %w", path, err)
	}
	s := &Store{Now: time.Now, db: db, tables: map[string]*table{}}
	s.closed, s.close = context.WithCancel(context.Background())
	s.server = &http.Server{Handler: s.Handler(), ReadTimeout: clientTime, WriteTimeout: clientTime}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketTables, bucketTokens} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketTables).ForEach(func(name, raw []byte) error {
			t := &table{}
			if err := json.Unmarshal(raw, t); err != nil {
				return fmt.Errorf("reading the definition of %s: %w", name, err)
			}
			s.tables[t.Name] = t
			return nil
		})
	})
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("opening the development table %s: %w", path, err)
	}
	return s, nil
}

// Handler answers DynamoDB's API, to this machine only.
func (s *Store) Handler() http.Handler { return loopback.Guard(http.HandlerFunc(s.serve)) }

// Serve answers requests on a listener of loopback, and sweeps what has expired, until Close.
func (s *Store) Serve(listener net.Listener) {
	s.wg.Go(func() { s.server.Serve(listener) })
	s.wg.Go(func() {
		ticker := time.NewTicker(sweepEvery)
		defer ticker.Stop()
		for {
			s.Sweep()
			select {
			case <-ticker.C:
			case <-s.closed.Done():
				return
			}
		}
	})
}

// Close ends the server, waits for requests that are at work, and closes the file.
func (s *Store) Close() error {
	s.close()
	s.server.Close()
	s.wg.Wait()
	return s.db.Close() // it waits for transactions
}

// Path is the file's.
func (s *Store) Path() string { return s.db.Path() }

// Units are the capacity units that all requests so far would have used on AWS, for what they would have cost.
func (s *Store) Units() (writes, reads float64) {
	return float64(s.writeUnits.Load()) / 2, float64(s.readUnits.Load()) / 2
}
