// Package ahead starts parsing the certificate roots while the packages behind it are initialised, which are those of AWS's SDK
// for the most part: that takes the second CPU, which would otherwise wait. The main of a function imports it for that effect.
//
// It imports nothing but package roots, so that it comes early.
package ahead

import "github.com/dormouse-relay/dormouse/internal/roots"

func init() { roots.Begin() }
