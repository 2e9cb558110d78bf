package conform

// facts are what checks have measured, for a profile.
type facts map[string]any

func (f facts) note(name string, value any) { f[name] = value }
