// Package relay is the gateway's side of the relay contract, version 1. Sections named in comments are the contract's.
//
// A Conn is one socket. Receive hands out deliveries in the order they arrived, at least once: the connector sends a
// buffered one again on a later socket until Ack names it, so callers recognise what they have already taken.
//
// Dial starts the Conn's goroutines and Close waits for them. Receive is for one caller at a time; every other method
// may be called from any goroutine.
package relay
