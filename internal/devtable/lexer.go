package devtable

import (
	"strings"
	"unicode/utf8"
)

// longestExpression is in bytes, as DynamoDB has it.
const longestExpression = 4 << 10

// token is a word of an expression. Words that are names are as they were written; keyword compares them.
type token struct {
	kind tokenKind
	text string
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenAlias  // #name
	tokenValue  // :value
	tokenNumber // an index
	tokenSign   // = <> < <= > >= ( ) [ ] , . + -
)

// cutTokens cuts an expression into its words. what names the expression in errors.
func cutTokens(what, text string) (tokens []token, err error) {
	switch {
	case strings.TrimSpace(text) == "":
		return nil, invalid("Invalid %s: The expression can not be empty;", what)
	case len(text) > longestExpression:
		return nil, invalid("Invalid %s: Expression size has exceeded the maximum allowed size;", what)
	case !utf8.ValidString(text):
		return nil, invalid("Invalid %s: it is no UTF-8", what)
	}
	for rest := strings.TrimLeft(text, blanks); rest != ""; rest = strings.TrimLeft(rest, blanks) {
		t, ok := firstToken(rest)
		if !ok {
			return nil, invalid("Invalid %s: Syntax error; token: %q, near: %q", what, firstRune(rest), near(rest))
		}
		tokens = append(tokens, t)
		rest = rest[len(t.text):]
	}
	return tokens, nil
}

const blanks = " \t\r\n"

// firstToken is the word that an expression begins with; ok is false if that is none.
func firstToken(rest string) (t token, ok bool) {
	switch c := rest[0]; {
	case letter(c):
		return token{tokenName, rest[:span(rest, wordByte)]}, true
	case digit(c):
		return token{tokenNumber, rest[:span(rest, digit)]}, true
	case c == '#' || c == ':':
		n := 1 + span(rest[1:], wordByte)
		return token{map[byte]tokenKind{'#': tokenAlias, ':': tokenValue}[c], rest[:n]}, n > 1
	case strings.HasPrefix(rest, "<>"), strings.HasPrefix(rest, "<="), strings.HasPrefix(rest, ">="):
		return token{tokenSign, rest[:2]}, true
	default:
		return token{tokenSign, rest[:1]}, strings.IndexByte("=<>()[],.+-", c) >= 0
	}
}

func letter(c byte) bool   { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func digit(c byte) bool    { return c >= '0' && c <= '9' }
func wordByte(c byte) bool { return letter(c) || digit(c) || c == '_' }

// span is how many bytes at the beginning of s are what is says.
func span(s string, is func(byte) bool) (n int) {
	for n < len(s) && is(s[n]) {
		n++
	}
	return n
}

func firstRune(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}

// near is the beginning of what is left of an expression, for errors.
func near(s string) string {
	if len(s) > 20 {
		s = strings.ToValidUTF8(s[:20], "")
	}
	return s
}
