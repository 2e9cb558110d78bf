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
	for rest := text; rest != ""; {
		c := rest[0]
		n, kind := 1, tokenSign
		switch {
		case strings.ContainsRune(" \t\r\n", rune(c)):
			rest = rest[1:]
			continue
		case letter(c):
			n, kind = 1+span(rest[1:], wordByte), tokenName
		case c >= '0' && c <= '9':
			n, kind = span(rest, digit), tokenNumber
		case c == '#':
			n, kind = 1+span(rest[1:], wordByte), tokenAlias
		case c == ':':
			n, kind = 1+span(rest[1:], wordByte), tokenValue
		case strings.HasPrefix(rest, "<>"), strings.HasPrefix(rest, "<="), strings.HasPrefix(rest, ">="):
			n = 2
		case strings.IndexByte("=<>()[],.+-", c) < 0:
			return nil, invalid("Invalid %s: Syntax error; token: %q, near: %q", what, firstRune(rest), near(rest))
		}
		if n == 1 && (kind == tokenAlias || kind == tokenValue) {
			return nil, invalid("Invalid %s: Syntax error; token: %q without a name, near: %q", what, c, near(rest))
		}
		tokens = append(tokens, token{kind, rest[:n]})
		rest = rest[n:]
	}
	return tokens, nil
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
