package relay_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestKindOf(t *testing.T) {
	tests := map[string]struct {
		err   error
		want  relay.CloseKind
		known bool
	}{
		"token aged":          {&relay.CloseError{Code: 4401, Reason: "expired"}, relay.CloseExpired, true},
		"token refused":       {&relay.CloseError{Code: 4401, Reason: "unauthorized"}, relay.CloseRefused, true},
		"expired in part":     {&relay.CloseError{Code: 4401, Reason: "expired token"}, relay.CloseRefused, true},
		"revoked while open":  {&relay.CloseError{Code: 4403, Reason: "revoked"}, relay.CloseRefused, true},
		"HTTP 401":            {&relay.UpgradeError{Status: 401}, relay.CloseRefused, true},
		"HTTP 403":            {&relay.UpgradeError{Status: 403}, relay.CloseRefused, true},
		"HTTP 400":            {&relay.UpgradeError{Status: 400}, relay.CloseBroken, true},
		"seat taken":          {&relay.CloseError{Code: 1008, Reason: "duplicate session"}, relay.CloseDuplicate, true},
		"another took it":     {&relay.CloseError{Code: 1000, Reason: "replaced"}, relay.CloseReplaced, true},
		"another dialled":     {&relay.CloseError{Code: 4000, Reason: "replaced by a new dial"}, relay.CloseReplaced, true},
		"busy":                {&relay.CloseError{Code: 4429, Reason: "busy"}, relay.CloseDuplicate, true},
		"no such path":        {&relay.CloseError{Code: 4404}, relay.CloseTurnedAway, true},
		"unknown 44xx":        {&relay.CloseError{Code: 4499}, relay.CloseTurnedAway, true},
		"platform is down":    {&relay.CloseError{Code: 4503}, relay.CloseTurnedAway, true},
		"unknown 45xx":        {&relay.CloseError{Code: 4599}, relay.CloseTurnedAway, true},
		"unknown 46xx":        {&relay.CloseError{Code: 4600}, relay.CloseBroken, true},
		"unknown 43xx":        {&relay.CloseError{Code: 4399}, relay.CloseBroken, true},
		"suspended":           {&relay.CloseError{Code: 1013}, relay.CloseSuspended, true},
		"connector restarts":  {&relay.CloseError{Code: 1001}, relay.CloseGoingAway, true},
		"ordinary close":      {&relay.CloseError{Code: 1000}, relay.CloseBroken, true},
		"internal error":      {&relay.CloseError{Code: 1011}, relay.CloseBroken, true},
		"no close frame":      {&relay.CloseError{Code: 1006}, relay.CloseBroken, true},
		"deep in other texts": {fmt.Errorf("dial: %w", &relay.CloseError{Code: 4403}), relay.CloseRefused, true},
		"closed by ourselves": {net.ErrClosed, relay.CloseBroken, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			kind, known := relay.KindOf(tt.err)
			is.Equal(kind, tt.want)
			is.Equal(known, tt.known)
		})
	}
}

func TestCloseKindsHaveNames(t *testing.T) {
	is := is.New(t)
	is.Equal(relay.CloseBroken.String(), "broken")
	is.Equal(relay.CloseGoingAway.String(), "going away")
	is.Equal(relay.CloseTurnedAway.String(), "turned away")
	is.Equal(relay.CloseKind(99).String(), "CloseKind(99)")
}

func TestOpErrorIsCutAndQuoted(t *testing.T) {
	is := is.New(t)
	text := (&relay.OpError{Code: "c\n", Message: strings.Repeat("x", 1000) + "\n"}).Error()
	is.True(len(text) < 300)
	is.True(!strings.Contains(text, "\n"))
}
