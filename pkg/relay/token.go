package relay

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"
)

// UpgradeToken returns the bearer for a dial: unpadded base64url of "id:exp:sig", with sig the hex HMAC-SHA256 of
// "id:exp" under secret, and exp now+ttl in whole Unix seconds, or 0 for no expiry if ttl is not positive (section 2).
func UpgradeToken(id string, secret Secret, now time.Time, ttl time.Duration) Secret {
	exp := int64(0)
	if ttl > 0 {
		exp = now.Add(ttl).Unix()
	}
	signed := id + ":" + strconv.FormatInt(exp, 10)
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte(signed))
	return NewSecret(base64.RawURLEncoding.EncodeToString([]byte(signed + ":" + hex.EncodeToString(mac.Sum(nil)))))
}
