package locallambda

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/dormouse-relay/dormouse/internal/loopback"
)

const maxEventPayload = 1 << 20 // bytes, of an asynchronous invocation

// lambdaAPI answers Invoke (with the tail of the log where it is asked for), InvokeWithResponseStream and
// GetFunctionConfiguration of the Lambda API.
func (h *Host) lambdaAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", h.serveInvoke)
	mux.HandleFunc("POST /2021-11-15/functions/{name}/response-streaming-invocations", h.serveInvokeStream)
	mux.HandleFunc("GET /2015-03-31/functions/{name}/configuration", h.serveConfiguration)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		apiError(w, http.StatusNotFound, "UnknownOperationException", fmt.Sprintf("no %s %s here", r.Method, r.URL.Path))
	})
	return loopback.Guard(mux) // it asks for no credential, and a page in a browser here can reach it
}

func (h *Host) serveInvoke(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-Requestid", requestID())
	kind := r.Header.Get("X-Amz-Invocation-Type")
	limit := int64(maxPayload)
	switch kind {
	case "", "RequestResponse", "DryRun":
	case "Event":
		limit = maxEventPayload
	default:
		apiError(w, http.StatusBadRequest, "InvalidParameterValueException", "invocation type "+kind)
		return
	}
	payload, ok := invocationPayload(w, r, limit)
	if !ok {
		return
	}
	name := r.PathValue("name")
	var result Result
	var err error
	fn, _ := h.function(name)
	mark := fn.mark()
	status := http.StatusOK
	switch kind {
	case "DryRun":
		status = http.StatusNoContent
		_, err = h.function(name)
	case "Event":
		status = http.StatusAccepted
		err = h.InvokeEvent(name, payload)
	default:
		result, err = h.Invoke(r.Context(), name, payload)
	}
	if err != nil {
		invocationError(w, name, err)
		return
	}
	if result.FunctionError != "" {
		w.Header().Set("X-Amz-Function-Error", result.FunctionError)
	}
	if kind != "Event" && r.Header.Get("X-Amz-Log-Type") == "Tail" {
		w.Header().Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString(fn.tail.since(mark)))
	}
	w.Header().Set("X-Amz-Executed-Version", "$LATEST")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(result.Payload)
}

// invocationPayload reads the event of an invocation. If that cannot be used, the answer says so, and ok is false.
func invocationPayload(w http.ResponseWriter, r *http.Request, limit int64) (payload []byte, ok bool) {
	payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	switch {
	case err != nil:
		apiError(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", err.Error())
	case len(payload) > 0 && !json.Valid(payload):
		apiError(w, http.StatusBadRequest, "InvalidRequestContentException", "Could not parse request body into json")
	default:
		return payload, true
	}
	return nil, false
}

// invocationError answers for an invocation that was not made.
func invocationError(w http.ResponseWriter, name string, err error) {
	switch {
	case errors.Is(err, ErrNotFound):
		apiError(w, http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+name)
	case errors.Is(err, ErrThrottled):
		apiError(w, http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
	default:
		apiError(w, http.StatusInternalServerError, "ServiceException", err.Error())
	}
}

func (h *Host) serveConfiguration(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-Requestid", requestID())
	fn, err := h.function(r.PathValue("name"))
	if err != nil {
		apiError(w, http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+r.PathValue("name"))
		return
	}
	shown := map[string]string{}
	for _, name := range fn.Shown {
		if value, ok := fn.Env[name]; ok {
			shown[name] = value
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"FunctionName": fn.Name, "FunctionArn": fn.arn, "Runtime": "provided.al2023", "MemorySize": fn.Memory,
		"Timeout": int(fn.Timeout.Seconds()), "State": "Active", "Environment": map[string]any{"Variables": shown},
	})
}

// apiError answers with an error as Lambda does. Its text is in the member message or Message, whichever that kind of error
// has at Lambda.
func apiError(w http.ResponseWriter, status int, errorType, message string) {
	body := map[string]string{"Type": "User", "message": message, "Message": message}
	if errorType == "TooManyRequestsException" {
		body["Reason"] = "ReservedFunctionConcurrentInvocationLimitExceeded"
	}
	w.Header().Set("X-Amzn-Errortype", errorType)
	writeJSON(w, status, body)
}
