package dynamo

import (
	"context"
	"fmt"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// The item of a prompt: ref, until, by (the delivery that took it), expires.

// mostKey is how long a sort key may be.
const mostKey = 1024

func promptKey(id string) string { return "p#" + id }

func (l *Ledger) PutPrompt(ctx context.Context, epoch int64, p ledger.Prompt) error {
	if len(p.Ref) > mostBody {
		return fmt.Errorf("%w: a prompt's ref of %d bytes; %d fit", ledger.ErrTooLarge, len(p.Ref), mostBody)
	}
	w := l.put(l.mark(), item{
		"sk": text(promptKey(p.ID)), "ref": text(p.Ref), "until": moment(p.Until), TTL: number(p.Until.Unix() + 1),
	}, "attribute_not_exists(#by) OR #until <= :now", item{":now": moment(l.now())})
	return l.commit(ctx, alone(epoch, w))
}

func (l *Ledger) TakePrompt(ctx context.Context, epoch int64, id, delivery string) (ledger.Prompt, bool, error) {
	if len(promptKey(id)) > mostKey {
		return ledger.Prompt{}, false, nil
	}
	found, err := l.get(ctx, promptKey(id))
	if err != nil || !found.time("until").After(l.now()) {
		return ledger.Prompt{}, false, err
	}
	refused, err := l.update(ctx, epoch, change{
		sk:     promptKey(id),
		update: "#by = :by",
		when:   "attribute_exists(#ref) AND (attribute_not_exists(#by) OR #by = :by)",
		values: item{":by": text(delivery)},
	})
	if err != nil || refused != nil {
		return ledger.Prompt{}, false, err
	}
	return ledger.Prompt{ID: id, Ref: found.text("ref"), Until: found.time("until")}, true, nil
}
