package devtable

import (
	_ "embed"
	"strings"
)

// reservedText has the words that DynamoDB takes for no attribute's name in an expression, as its Developer Guide lists them.
//
//go:embed reserved.txt
var reservedText string

var reserved = func() map[string]bool {
	words := map[string]bool{}
	for word := range strings.FieldsSeq(reservedText) {
		words[word] = true
	}
	return words
}()
