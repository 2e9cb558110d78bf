package locallambda

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"
)

const maxStreamed = 200 << 20 // bytes of an answer that streams

// What a runtime tells of an answer that broke off, behind it.
const (
	trailerErrorType = "Lambda-Runtime-Function-Error-Type"
	trailerErrorBody = "Lambda-Runtime-Function-Error-Body" // base64 of JSON
)

// Chunk is a part of an answer, as the process has sent it.
type Chunk struct {
	ContentType string // of the answer
	Data        []byte
}

// InvokeStream is Invoke for an answer that is heard as the process says it. hear is called for each part before InvokeStream
// returns. The Result has no payload, unless the function has failed.
func (h *Host) InvokeStream(ctx context.Context, name string, payload []byte, hear func(Chunk)) (Result, error) {
	chunks, gone := make(chan Chunk), make(chan struct{})
	defer close(gone)
	done, err := h.begin(name, payload, func(c Chunk) {
		select {
		case chunks <- c:
		case <-gone:
		}
	})
	if err != nil {
		return Result{}, err
	}
	for {
		select {
		case c := <-chunks:
			hear(c)
		case out := <-done:
			return out.result, out.err
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		}
	}
}

// read takes the answer of a process to a job. What streams is passed on as it comes, and not kept.
func (j *job) read(w http.ResponseWriter, r *http.Request) (payload []byte, err error) {
	if j.hear == nil {
		return io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	}
	body := http.MaxBytesReader(w, r.Body, maxStreamed)
	buf := make([]byte, 32<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			j.hear(Chunk{ContentType: r.Header.Get("Content-Type"), Data: slices.Clone(buf[:n])})
		}
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// brokenOff is the result of an answer that its function could not end; nil if it could.
func brokenOff(trailer http.Header) *Result {
	if trailer.Get(trailerErrorType) == "" {
		return nil
	}
	body, err := base64.StdEncoding.DecodeString(trailer.Get(trailerErrorBody))
	if err != nil || !json.Valid(body) {
		body, _ = json.Marshal(map[string]string{"errorType": trailer.Get(trailerErrorType)})
	}
	return &Result{Payload: body, FunctionError: "Unhandled"}
}

// serveInvokeStream answers InvokeWithResponseStream, version 2021-11-15: each part of the answer is a message of an event
// stream, which InvokeComplete ends. The content type is the answer's own.
func (h *Host) serveInvokeStream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-Requestid", requestID())
	payload, ok := invocationPayload(w, r, maxPayload)
	if !ok {
		return
	}
	events := &eventWriter{w: w}
	result, err := h.InvokeStream(r.Context(), r.PathValue("name"), payload, func(c Chunk) {
		events.begin(c.ContentType)
		events.write("PayloadChunk", c.Data)
	})
	if err != nil {
		if !events.begun {
			invocationError(w, r.PathValue("name"), err)
		}
		return // a stream without its end is one that broke
	}
	events.begin("application/octet-stream")
	end := map[string]string{}
	if result.FunctionError != "" {
		end["ErrorCode"], end["ErrorDetails"] = result.FunctionError, string(result.Payload)
	}
	raw, err := json.Marshal(end)
	if err != nil {
		panic("locallambda: strings always marshal: " + err.Error())
	}
	events.write("InvokeComplete", raw)
}

// eventWriter writes an event stream as the body of an answer.
type eventWriter struct {
	w       http.ResponseWriter
	encoder *eventstream.Encoder
	begun   bool
}

func (e *eventWriter) begin(contentType string) {
	if e.begun {
		return
	}
	e.begun, e.encoder = true, eventstream.NewEncoder()
	e.w.Header().Set("X-Amz-Executed-Version", "$LATEST")
	e.w.Header().Set("Content-Type", contentType)
	e.w.WriteHeader(http.StatusOK)
}

func (e *eventWriter) write(kind string, payload []byte) {
	message := eventstream.Message{Payload: payload}
	for name, value := range map[string]string{
		eventstreamapi.MessageTypeHeader: eventstreamapi.EventMessageType,
		eventstreamapi.EventTypeHeader:   kind,
	} {
		message.Headers.Set(name, eventstream.StringValue(value))
	}
	if err := e.encoder.Encode(e.w, message); err != nil {
		panic(http.ErrAbortHandler) // nobody is there any more
	}
	if err := http.NewResponseController(e.w).Flush(); err != nil {
		panic(fmt.Errorf("locallambda: an answer that cannot stream: %w", err))
	}
}
