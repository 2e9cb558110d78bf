package dynamo

import (
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// tell adds to the write that gives the lease back what operators want to know of the run. set and remove are its parts of
// the update.
func (c change) tell(plan ledger.Plan) (set, remove string) {
	end := plan.After
	put := func(name, value string) {
		if value == "" {
			remove += ", #" + name
			return
		}
		set += ", #" + name + " = :" + name
		c.values[":"+name] = text(shorten(value))
	}
	stamp := func(name string, at time.Time, otherwise bool) {
		switch {
		case !at.IsZero():
			set += ", #" + name + " = :" + name
			c.values[":"+name] = moment(at)
		case otherwise:
			remove += ", #" + name
		}
	}
	put("why", plan.Why)
	put("how", end.Status)
	put("howby", end.Error)
	put("version", end.Version)
	put("hinder", end.Hinder.What)
	put("hinderby", end.Hinder.Said)
	stamp("hindered", end.Hinder.Since, true)
	stamp("away", end.Away, true)
	stamp("met", end.Contact, false) // an earlier one stays known, as of the next two
	stamp("poked", end.Poked, false)
	stamp("swept", end.Swept, false)
	return set, remove
}

func told(found item) ledger.Ending {
	return ledger.Ending{
		Status: found.text("how"), Error: found.text("howby"), Contact: found.time("met"), Version: found.text("version"),
		Hinder: ledger.Trouble{What: found.text("hinder"), Since: found.time("hindered"), Said: found.text("hinderby")},
		Away:   found.time("away"), Poked: found.time("poked"), Swept: found.time("swept"),
	}
}
