package turn

import "fmt"

// refusedError is why a message is dead whose answer the connector does not take.
type refusedError struct {
	op     string
	words  string // the connector's
	chat   bool   // it is the chat that refuses: nothing else may be sent there
	waited bool   // it would have passed later, and has been tried for too long
}

func (e *refusedError) Error() string {
	if e.waited {
		return fmt.Sprintf("the connector has refused an action of the answer for too long: %s: %.500q", e.op, e.words)
	}
	return fmt.Sprintf("the connector refuses an action of the answer: %s: %.500q", e.op, e.words)
}
