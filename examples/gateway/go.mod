module github.com/dormouse-relay/dormouse/examples/gateway

go 1.26.0

replace github.com/dormouse-relay/dormouse => ../..

require (
	github.com/dormouse-relay/dormouse v0.0.0
	github.com/gorilla/websocket v1.5.3
)

require (
	github.com/go-json-experiment/json v1.27.2 // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	golang.org/x/oauth2 v0.38.0 // indirect
)
