package rig

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
)

// Tap is a connector as next is, and tells secret of each credential that passes: of bearer tokens, and of what
// provisioning and enrollment issue, before the gateway has it.
func Tap(next http.Handler, secret func(string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
			secret(token)
		}
		if r.URL.Path != "/relay/provision" && r.URL.Path != "/relay/enroll" {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		var issued struct{ Secret, DeliveryKey string }
		if json.Unmarshal(answer.Body.Bytes(), &issued) == nil {
			for _, s := range []string{issued.Secret, issued.DeliveryKey} {
				if s != "" {
					secret(s)
				}
			}
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}
