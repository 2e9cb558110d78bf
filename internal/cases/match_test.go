package cases

import (
	"fmt"
	"net/url"
	"strings"
)

// match says where got is not as want: of an object the members that are named, null for null or missing; of a list as
// many elements; anything else is equal. A want of {"path_ends_with": s} is a URL whose path ends so.
func match(want, got any) (fault string) { return matchAt("", want, got) }

func matchAt(at string, want, got any) string {
	switch want := want.(type) {
	case object:
		return matchAt(at, map[string]any(want), got)
	case map[string]any:
		if end, ok := want["path_ends_with"].(string); ok {
			s, _ := got.(string)
			if u, err := url.Parse(s); err != nil || !strings.HasSuffix(u.Path, end) {
				return fmt.Sprintf("%s is %s, want a URL whose path ends with %q", at, short(got), end)
			}
			return ""
		}
		have, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %s, want an object", at, short(got))
		}
		for name, member := range want {
			if fault := matchAt(at+"/"+name, member, have[name]); fault != "" {
				return fault
			}
		}
		return ""
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) != len(want) {
			return fmt.Sprintf("%s is %s, want a list of %d", at, short(got), len(want))
		}
		for i := range want {
			if fault := matchAt(fmt.Sprint(at, "/", i), want[i], have[i]); fault != "" {
				return fault
			}
		}
		return ""
	}
	if want != got {
		return fmt.Sprintf("%s is %s, want %s", at, short(got), short(want))
	}
	return ""
}

// matchActions says where got is not exactly want, in this order.
func matchActions(want []object, got []*action) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d actions, want %d: %s", len(got), len(want), describe(got))
	}
	for i := range want {
		if fault := match(want[i], got[i].body); fault != "" {
			return fmt.Sprintf("action %d: %s", i, fault)
		}
	}
	return ""
}

func describe(actions []*action) string {
	var list []string
	for _, a := range actions {
		list = append(list, a.op+" "+short(a.body["content"]))
	}
	return strings.Join(list, ", ")
}

// short is v as text, cut.
func short(v any) string {
	s := fmt.Sprintf("%#v", v)
	if len(s) > 120 {
		s = s[:120] + "..."
	}
	return s
}
