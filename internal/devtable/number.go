package devtable

import (
	"math/big"
	"strings"
)

// What a number may be, as DynamoDB has it.
const (
	mostDigits  = 38
	mostPower   = 125
	leastPower  = -130
	longestText = 200 // bytes of a number as it is written
)

// decimal is coef * 10^exp. coef does not end in a zero, unless it is zero.
type decimal struct {
	coef *big.Int
	exp  int
}

// parseNumber reads a number as JSON carries it.
func parseNumber(s string) (decimal, error) {
	if len(s) > longestText {
		return decimal{}, invalid("The parameter cannot be converted to a numeric value: it is longer than %d bytes", longestText)
	}
	body, exponent, hasExponent := strings.Cut(strings.ReplaceAll(s, "E", "e"), "e")
	exp := 0
	if hasExponent {
		var ok bool
		if exp, ok = small(exponent); !ok {
			return decimal{}, notNumeric(s)
		}
	}
	negative := strings.HasPrefix(body, "-")
	body = strings.TrimPrefix(strings.TrimPrefix(body, "-"), "+")
	whole, fraction, _ := strings.Cut(body, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" || strings.ContainsAny(body, "+-") {
		return decimal{}, notNumeric(s)
	}
	coef, _ := new(big.Int).SetString(digits, 10)
	if negative {
		coef.Neg(coef)
	}
	return normal(coef, exp-len(fraction))
}

func notNumeric(s string) error {
	return invalid("The parameter cannot be converted to a numeric value: %.40s", s)
}

// small reads an exponent.
func small(s string) (n int, ok bool) {
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "+"), "-")
	if digits == "" || len(digits) > 4 || strings.Trim(digits, "0123456789") != "" || len(s)-len(digits) > 1 {
		return 0, false
	}
	for _, d := range digits {
		n = 10*n + int(d-'0')
	}
	if strings.HasPrefix(s, "-") {
		n = -n
	}
	return n, true
}

// normal is the number without zeros at its end, if it is one that can be stored.
func normal(coef *big.Int, exp int) (decimal, error) {
	if coef.Sign() == 0 {
		return decimal{coef: new(big.Int)}, nil
	}
	text := new(big.Int).Abs(coef).String()
	digits := strings.TrimRight(text, "0")
	exp += len(text) - len(digits)
	trimmed, _ := new(big.Int).SetString(digits, 10)
	if coef.Sign() < 0 {
		trimmed.Neg(trimmed)
	}
	switch power := exp + len(digits) - 1; { // of the first digit
	case len(digits) > mostDigits:
		return decimal{}, invalid("Attempting to store more than %d significant digits in a Number", mostDigits)
	case power > mostPower:
		return decimal{}, invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
	case power < leastPower:
		return decimal{}, invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
	}
	return decimal{trimmed, exp}, nil
}

// String is the number without an exponent, as DynamoDB answers it.
func (d decimal) String() string {
	digits, sign := new(big.Int).Abs(d.coef).String(), ""
	if d.coef.Sign() < 0 {
		sign = "-"
	}
	switch {
	case d.exp >= 0:
		return sign + digits + strings.Repeat("0", d.exp)
	case len(digits) > -d.exp:
		point := len(digits) + d.exp
		return sign + digits[:point] + "." + digits[point:]
	}
	return sign + "0." + strings.Repeat("0", -d.exp-len(digits)) + digits
}

// aligned are the coefficients of two numbers with the same exponent.
func aligned(a, b decimal) (x, y *big.Int, exp int) {
	exp = min(a.exp, b.exp)
	scale := func(d decimal) *big.Int {
		power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.exp-exp)), nil)
		return power.Mul(power, d.coef)
	}
	return scale(a), scale(b), exp
}

func (d decimal) compare(other decimal) int {
	x, y, _ := aligned(d, other)
	return x.Cmp(y)
}

// plus is d + other, or d - other if minus is set.
func (d decimal) plus(other decimal, minus bool) (decimal, error) {
	x, y, exp := aligned(d, other)
	if minus {
		y.Neg(y)
	}
	return normal(x.Add(x, y), exp)
}

func decimalOf(n int) decimal {
	d, _ := normal(big.NewInt(int64(n)), 0)
	return d
}
