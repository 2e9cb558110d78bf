package conform

import "slices"

// Catalogue returns every check, in the order in which they run. Checks of pokes are the first of their suite, so that no
// earlier poke holds them back.
func Catalogue() []Check {
	return slices.Concat(upgradeChecks, handshakeChecks, wireChecks, silenceChecks, actionChecks, opChecks, sleepChecks, identityChecks,
		withdrawnChecks, mediaChecks, promptChecks)
}
