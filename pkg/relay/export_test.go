package relay

// What tests of the package as its users see it need besides.
var (
	TextLen = textLen
)
