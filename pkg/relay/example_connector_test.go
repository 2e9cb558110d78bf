package relay_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

// startConnector starts a small connector for the examples. It has the given frames for whoever dials it, takes acks, says
// yes to every action but one to chat "closed", and buffers when it is asked to. stop ends it and returns what it got.
func startConnector(frames ...string) (url string, stop func() (got []string)) {
	var got []string
	var sockets sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer wrong" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		sockets.Add(1)
		defer sockets.Done()
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			_, line, err := ws.ReadMessage()
			if err != nil { // the gateway has closed; gorilla has answered its close frame
				return
			}
			for _, answer := range connectorAnswers(line, frames) {
				ws.WriteMessage(websocket.TextMessage, []byte(answer+"\n"))
			}
			got = append(got, strings.TrimSpace(string(line)))
		}
	}))
	return "ws" + strings.TrimPrefix(srv.URL, "http") + "/relay", func() []string {
		sockets.Wait()
		srv.Close()
		return got
	}
}

// connectorAnswers is what the examples' connector says to a frame of the gateway.
func connectorAnswers(line []byte, frames []string) []string {
	var f struct {
		Type, RequestID string
		Action          struct{ Op, ChatID string }
	}
	json.Unmarshal([]byte(strings.ReplaceAll(string(line), "chat_id", "chatId")), &f)
	switch f.Type {
	case "hello":
		return append([]string{`{"type":"descriptor","descriptor":{"platform":"discord","label":"Discord","supported_ops":["send","typing"]}}`},
			frames...)
	case "outbound":
		result := `{"success":true,"message_id":"900"}`
		if f.Action.ChatID == "closed" {
			result = `{"success":false,"code":"egress_declined","error":"egress declined: not your chat"}`
		}
		return []string{fmt.Sprintf(`{"type":"outbound_result","requestId":%q,"result":%s}`, f.RequestID, result)}
	case "going_idle":
		return []string{`{"type":"going_idle_ack"}`}
	}
	return nil
}
