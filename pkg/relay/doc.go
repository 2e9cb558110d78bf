// Package relay is the gateway's side of the relay contract, version 1: one socket to a connector, and what goes over it.
// Sections named in comments are those of docs/contract.md.
//
// The short way: mint a token with UpgradeToken, Dial, then Receive, keep what came, Ack it and answer with Do. Before you
// leave, GoIdle and Close. The example "Gateway" is all of it in 40 lines.
//
// # The life of a socket
//
//	   Dial
//	     |  connect, upgrade with the bearer        fails: *UpgradeError, or the network's error
//	     v
//	  dialled
//	     |  hello for each front; the first         fails: ErrNoDescriptor, *CloseError
//	     |  descriptor comes; Dial returns
//	     v
//	  serving     <-------------------------+
//	     |  Receive, Ack, Do, Post,         |
//	     |  Interrupt, Descriptor           |
//	     |                                  |  GoIdle fails: the connector
//	     |  GoIdle                          |  may still deliver live
//	     v                                  |
//	going idle  ----------------------------+
//	     |  as in serving; going_idle_ack comes,
//	     |  GoIdle returns nil
//	     v
//	    idle          the connector buffers; what it sent before can be received and acked
//	     |  Close, or Hangup from any state
//	     v
//	   closed         Receive returns what is left, then net.ErrClosed
//
// A socket may end by itself in every state: Done is closed, Receive returns what is left and then the reason, a
// *CloseError. A Conn never dials again; its caller does.
//
// Deliveries come in the order in which they arrived, at least once: the connector sends a buffered one again, on this
// socket or a later one, until Ack names it. So callers have to recognise what they have already taken.
//
// # Goroutines
//
// A Conn has three goroutines. Dial starts them, Close and Hangup wait for them, and they end by themselves with the
// socket.
//
//   - The reader decodes frames, hands results to whoever waits in Do, and queues deliveries. It waits for the socket
//     only: not for Receive, and never for a write.
//   - The writer writes what was sent in batches: acks of one burst leave together.
//   - The pinger sends a ping every PingInterval. If no pong comes within PongTimeout of it, the reader ends the socket.
//
// Receive is for one caller at a time. Every other method may be called from any goroutine, also while others wait. Receive
// waits for a delivery, Do for a result, GoIdle for its ack, WaitDescriptors for at most a second, Close for the
// connector's close frame. Ack, Post and Interrupt wait only while the connector does not read: 64 KiB may be on their way.
//
// # Errors
//
// In the order in which a caller meets them:
//
//   - Faults of a Config, joined, each saying what is wanted: correct it. Dial has touched no network.
//   - *UpgradeError: the connector answered the upgrade with another status than 101. Kind CloseRefused means the
//     credentials (provision anew, or stop); any other status is worth another dial, later.
//   - The network's own error, wrapped, or the context's: dial again, later.
//   - ErrNoDescriptor: connected, but hello was not answered in time. Dial again, later.
//   - *CloseError: the connector ended the socket, during Dial or later. CloseKind lists what to do for each kind.
//   - net.ErrClosed: Close or Hangup was called.
//   - *OpError: the connector refused an action, and it was not applied. Result.Declined says whether it refused the
//     destination; then send nothing else there.
//   - ErrOutcomeUnknown: an action left and no result came. Ask whether doing it twice is worse than not doing it.
//   - Any other error of Do, Post, Ack or Interrupt means "not sent": safe to repeat on the next socket.
//   - A Delivery of KindUnusable is no error: Fault says what was wrong with the frame. Log it and ack it, or it comes
//     again on every socket.
//
// Errors quote no message bodies and no tokens.
package relay
