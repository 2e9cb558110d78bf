package locallambda

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

const bodyTime = 30 * time.Second // for the body of a request

// Front is an HTTP API in front of the function: each request is one synchronous invocation in payload format 2.0. A
// function that fails is a 500, one that is at its concurrency limit a 503.
func (h *Host) Front(function string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// As API Gateway: whoever is slower is not waited for.
		reading := http.NewResponseController(w)
		reading.SetReadDeadline(time.Now().Add(bodyTime)) // an error says that there are none, as in tests
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			writeJSON(w, http.StatusRequestTimeout, message("Request Timeout"))
			return
		}
		if err != nil {
			writeJSON(w, http.StatusRequestEntityTooLarge, message("Request Entity Too Large"))
			return
		}
		reading.SetReadDeadline(time.Time{}) // the connection's end is still seen
		event, err := json.Marshal(httpEvent(r, body))
		if err != nil {
			writeJSON(w, http.StatusInternalServerError, message("Internal Server Error"))
			return
		}
		result, err := h.Invoke(r.Context(), function, event)
		switch {
		case errors.Is(err, ErrThrottled), errors.Is(err, ErrClosed):
			writeJSON(w, http.StatusServiceUnavailable, message("Service Unavailable"))
		case err != nil || result.FunctionError != "" || !respond(w, result.Payload):
			writeJSON(w, http.StatusInternalServerError, message("Internal Server Error"))
		}
	})
}

func message(text string) map[string]string { return map[string]string{"message": text} }

func httpEvent(r *http.Request, body []byte) events.APIGatewayV2HTTPRequest {
	const route, stage = "$default", "$default"
	now := time.Now().UTC()
	sourceIP, _, _ := net.SplitHostPort(r.RemoteAddr)
	event := events.APIGatewayV2HTTPRequest{
		Version:        "2.0",
		RouteKey:       route,
		RawPath:        r.URL.EscapedPath(),
		RawQueryString: r.URL.RawQuery,
		Headers:        map[string]string{"host": r.Host},
		RequestContext: events.APIGatewayV2HTTPRequestContext{
			RouteKey:     route,
			AccountID:    account,
			Stage:        stage,
			RequestID:    requestID(),
			APIID:        "local",
			DomainName:   r.Host,
			DomainPrefix: "local",
			Time:         now.Format("02/Jan/2006:15:04:05 -0700"),
			TimeEpoch:    now.UnixMilli(),
			HTTP: events.APIGatewayV2HTTPRequestContextHTTPDescription{
				Method:    r.Method,
				Path:      r.URL.Path,
				Protocol:  r.Proto,
				SourceIP:  sourceIP,
				UserAgent: r.UserAgent(),
			},
		},
	}
	for name, values := range r.Header {
		if name == "Cookie" {
			for _, cookie := range r.Cookies() {
				event.Cookies = append(event.Cookies, cookie.String())
			}
			continue
		}
		event.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	for name, values := range r.URL.Query() {
		if event.QueryStringParameters == nil {
			event.QueryStringParameters = make(map[string]string)
		}
		event.QueryStringParameters[name] = strings.Join(values, ",")
	}
	if isText(r.Header.Get("Content-Type")) && utf8.Valid(body) {
		event.Body = string(body)
	} else if len(body) > 0 {
		event.Body, event.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return event
}

func isText(contentType string) bool {
	media, _, _ := mime.ParseMediaType(contentType)
	switch media {
	case "application/json", "application/javascript", "application/xml":
		return true
	}
	return strings.HasPrefix(media, "text/")
}

// respond writes the function's answer: a response in payload format 2.0, or anything else as the JSON body of a 200. If
// the answer is neither, it writes nothing and returns false.
func respond(w http.ResponseWriter, answer []byte) bool {
	var response events.APIGatewayV2HTTPResponse
	if !json.Valid(answer) {
		return false
	}
	if err := json.Unmarshal(answer, &response); err != nil || response.StatusCode == 0 {
		response = events.APIGatewayV2HTTPResponse{
			StatusCode: http.StatusOK,
			Headers:    map[string]string{"Content-Type": "application/json"},
			Body:       string(answer),
		}
	}
	if response.StatusCode < 200 || response.StatusCode > 599 {
		return false
	}
	body := []byte(response.Body)
	if response.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(response.Body); err != nil {
			return false
		}
	}
	for name, value := range response.Headers {
		w.Header().Set(name, value)
	}
	for _, cookie := range response.Cookies {
		w.Header().Add("Set-Cookie", cookie)
	}
	w.WriteHeader(response.StatusCode)
	w.Write(body)
	return true
}
