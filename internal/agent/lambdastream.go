package agent

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"mime"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/go-json-experiment/json/jsontext"
)

// StreamInvoker is the part of Lambda's client that is used for functions whose answers may stream.
type StreamInvoker interface {
	InvokeWithResponseStream(
		ctx context.Context, in *lambda.InvokeWithResponseStreamInput, opts ...func(*lambda.Options),
	) (*lambda.InvokeWithResponseStreamOutput, error)
}

// answerStreamed invokes the function with a response stream. Whether the answer is a stream of records or one answer says its
// content type, else its first line: a record, with its line feed, is the first of several.
func (l *Lambda) answerStreamed(ctx context.Context, payload []byte) (Answer, error) {
	var c contact
	out, err := l.streams.InvokeWithResponseStream(c.watch(ctx), &lambda.InvokeWithResponseStreamInput{
		FunctionName: &l.function, Payload: payload,
	}, l.once)
	if err != nil {
		return Answer{}, l.fault(ctx, &c, err)
	}
	body := &invocation{ctx: ctx, agent: l, stream: out.GetStream()}
	body.unhook = context.AfterFunc(ctx, func() { body.stream.Close() }) // also if nobody ranges over the answer
	contentType := ""
	if out.ResponseStreamContentType != nil {
		contentType = *out.ResponseStreamContentType
	}
	kind, _, _ := mime.ParseMediaType(contentType)
	if f := framingOf(kind); f != nil {
		return Answer{Stream: stream(ctx, body, f)}, nil
	}
	in := bufio.NewReader(body)
	seen, isFirst := firstRecord(in)
	whole := &joined{io.MultiReader(bytes.NewReader(seen), in), body}
	if isFirst {
		return Answer{Stream: stream(ctx, whole, lines{})}, nil
	}
	defer whole.Close()
	return readWhole(ctx, whole)
}

// joined is a body of which the beginning has been read.
type joined struct {
	io.Reader
	io.Closer
}

// firstRecord reads up to the end of the first line that is not blank, and says whether that line is a record. An error comes
// again as the rest is read.
func firstRecord(in *bufio.Reader) (seen []byte, isFirst bool) {
	for {
		begun := len(seen)
		for {
			part, err := in.ReadSlice('\n')
			seen = append(seen, part...)
			if err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) || len(seen) > maxLine {
				return seen, false
			}
		}
		if line := unmarked(seen[begun:]); len(line) > 0 {
			return seen, isRecord(line)
		}
	}
}

// isRecord says whether a line is an object that has op or text and no actions.
func isRecord(line []byte) bool {
	if !jsontext.Value(line).IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) {
		return false
	}
	a, err := DecodeLine(line)
	return err == nil && a["actions"] == nil
}

// invocation is what a function says, as one body: the chunks of its response stream one after another. A function that fails
// ends it with an error.
type invocation struct {
	ctx    context.Context
	agent  *Lambda
	stream *lambda.InvokeWithResponseStreamEventStream
	left   []byte // of the last chunk
	err    error
	unhook func() bool
}

func (i *invocation) Read(p []byte) (int, error) {
	for len(i.left) == 0 {
		if i.err == nil {
			i.next()
		}
		if i.err != nil {
			return 0, i.err
		}
	}
	n := copy(p, i.left)
	i.left = i.left[n:]
	return n, nil
}

// next waits for the next chunk, or sets err.
func (i *invocation) next() {
	select {
	case event, ok := <-i.stream.Events():
		switch event := event.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			i.left = event.Value.Payload
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			i.err = i.complete(event.Value)
		default: // an event that is not known says nothing
			if !ok {
				i.err = cmp.Or(i.stream.Err(), io.ErrUnexpectedEOF)
			}
		}
	case <-i.ctx.Done():
		i.err = context.Cause(i.ctx)
	}
}

// complete is how the invocation has ended.
func (i *invocation) complete(end types.InvokeWithResponseStreamCompleteEvent) error {
	if end.ErrorCode == nil || *end.ErrorCode == "" {
		return io.EOF
	}
	details := ""
	if end.ErrorDetails != nil {
		details = *end.ErrorDetails
	}
	return agentsFault{i.agent.streamFault(*end.ErrorCode, details)}
}

func (i *invocation) Close() error {
	i.unhook()
	return i.stream.Close()
}

// agentsFault is an error within an answer that says all there is to say.
type agentsFault struct{ error }
