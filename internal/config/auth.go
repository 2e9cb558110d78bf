package config

import (
	"net/url"
	"slices"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Auth says how this gateway proves itself to the connector.
type Auth string

const (
	AuthPinned Auth = "pinned" // its credentials are stored at CredentialsARN, or are GatewayID and Secret; it never provisions
	AuthAWS    Auth = "aws"    // the identity token comes from AWS STS, for IdentityAudience
	AuthOIDC   Auth = "oidc"   // the identity token comes from IDPTokenURL
	AuthSecret Auth = "secret" // the identity token is at IdentityTokenARN
	AuthEnv    Auth = "env"    // the identity token is IdentityToken
	AuthNone   Auth = "none"   // it dials unauthenticated (section 2): for development, or a connector that asks for no credentials
)

// checkAuth decides how the gateway proves itself, and checks what that takes.
func (v *drainVariables) checkAuth(faults *faultList) {
	const name = "GATEWAY_RELAY_IDENTITY"
	if chosen := v.Auth; chosen != "" && !slices.Contains([]Auth{AuthAWS, AuthOIDC, AuthSecret, AuthEnv, AuthNone}, chosen) {
		faults.add(name, "is %.40q; want aws, oidc, secret, env or none", string(chosen))
		return
	}
	chosen := v.Auth
	v.Auth = v.chooseAuth(chosen)
	switch v.Auth {
	case AuthNone:
		v.checkNone(chosen, faults)
	case AuthAWS:
		v.checkAudience(faults)
	case AuthOIDC:
		v.checkOIDC(faults)
	case AuthSecret:
		if v.IdentityTokenARN == "" {
			faults.add("GATEWAY_RELAY_IDENTITY_TOKEN_ARN", "is not set although %s is secret; want the ARN of the identity token", name)
		}
	case AuthEnv:
		v.checkIdentityToken(faults)
	}
}

// chooseAuth decides by which settings are there. Pinned credentials come first, then what the operator has chosen.
func (v *drainVariables) chooseAuth(chosen Auth) Auth {
	oidc := v.IDPTokenURL != "" || v.IDPClientID != "" || v.IDPClientSecret.Usable() || v.IDPClientSecretARN != ""
	switch {
	case v.CredentialsARN != "" || v.Secret.Usable():
		v.warnPinned(chosen != "" || oidc)
		return AuthPinned
	case chosen != "":
		return chosen
	case oidc:
		v.warnToken("the identity provider is asked")
		return AuthOIDC
	case v.IdentityTokenARN != "":
		v.warnToken("GATEWAY_RELAY_IDENTITY_TOKEN_ARN is set")
		return AuthSecret
	case v.IdentityToken.Usable():
		return AuthEnv
	case v.IdentityAudience != "":
		return AuthAWS
	}
	return AuthNone
}

// checkNone tells a gateway that is to prove nothing from one whose proof was forgotten.
func (v *drainVariables) checkNone(chosen Auth, faults *faultList) {
	u, err := url.Parse(v.URL.RelayURL())
	switch {
	case chosen == AuthNone:
	case v.FunctionName != "" && err == nil && u.Host != "" && !loopback(u):
		faults.add("GATEWAY_RELAY_IDENTITY", "is not set, and no credentials are; want aws, oidc, secret or env and what belongs to it, "+
			"or GATEWAY_RELAY_CREDENTIALS_ARN, or none for a connector that asks for no credentials")
	default:
		v.warn("no identity and no secret is set: the connector is dialled unauthenticated, which is for development")
	}
}

// warnPinned warns of settings that are not used because the credentials are pinned.
func (v *drainVariables) warnPinned(others bool) {
	if others || v.IdentityToken.Usable() || v.IdentityTokenARN != "" || v.IdentityAudience != "" {
		v.warn("the credentials are pinned: nothing is provisioned, so the identity settings are not used")
	}
	if v.CredentialsARN != "" && v.Secret.Usable() {
		v.warn("GATEWAY_RELAY_SECRET is not used: GATEWAY_RELAY_CREDENTIALS_ARN is set")
	}
}

// warnToken warns that an identity token in a variable is not used, if there is one, and why.
func (v *drainVariables) warnToken(why string) {
	if v.IdentityToken.Usable() {
		v.warn("GATEWAY_RELAY_IDENTITY_TOKEN is not used: %s", why)
	}
}

// checkAudience sets the default audience: scheme and host as they stand in the URL, so that an IAM policy's condition can
// name the same.
func (v *drainVariables) checkAudience(faults *faultList) {
	if v.IdentityAudience != "" {
		return
	}
	u, err := url.Parse(v.URL.Provision())
	switch {
	case err != nil || u.Host == "": // reported already
	case u.Scheme == "http" && !loopback(u):
		faults.add("GATEWAY_RELAY_URL", "is not encrypted, and identity aws would send a token of this AWS account there; want https or wss")
	default:
		v.IdentityAudience = u.Scheme + "://" + u.Host
	}
}

func (v *drainVariables) checkARNs(faults *faultList) {
	for name, value := range map[string]string{
		"GATEWAY_RELAY_CREDENTIALS_ARN":       v.CredentialsARN,
		"GATEWAY_RELAY_IDENTITY_TOKEN_ARN":    v.IdentityTokenARN,
		"GATEWAY_RELAY_IDP_CLIENT_SECRET_ARN": v.IDPClientSecretARN,
		"DORMOUSE_AGENT_SECRET_ARN":           v.AgentSecretARN,
	} {
		if value != "" && !isSecretARN(value) {
			faults.add(name, "is not the ARN of a secret; want arn:aws:ssm:REGION:ACCOUNT:parameter/NAME or "+
				"arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME")
		}
	}
	if v.AgentSecretARN != "" && v.AgentSecret.Usable() {
		v.warn("DORMOUSE_AGENT_SECRET is not used: DORMOUSE_AGENT_SECRET_ARN is set")
		v.AgentSecret = relay.Secret{}
	}
}

func (v *drainVariables) checkOIDC(faults *faultList) {
	const (
		tokenURL = "GATEWAY_RELAY_IDP_TOKEN_URL"
		id       = "GATEWAY_RELAY_IDP_CLIENT_ID"
		secret   = "GATEWAY_RELAY_IDP_CLIENT_SECRET"
	)
	u, fault := parseURL(v.IDPTokenURL, "https", "http")
	switch {
	case v.IDPTokenURL == "":
		faults.add(tokenURL, "is not set; want the identity provider's token endpoint")
	case fault != "":
		faults.add(tokenURL, "%s", fault)
	case u.Scheme == "http" && !loopback(u):
		faults.add(tokenURL, "is plain http, which is for loopback only; want https")
	}
	if v.IDPClientSecretARN != "" && v.IDPClientSecret.Usable() {
		v.warn("%s is not used: %s_ARN is set", secret, secret)
		v.IDPClientSecret = relay.Secret{}
	}
	switch hasID, hasSecret := v.IDPClientID != "", v.IDPClientSecret.Usable() || v.IDPClientSecretARN != ""; {
	case hasSecret && !hasID:
		faults.add(id, "is not set although %s or %[1]s_ARN is; want both, or neither for an endpoint that asks for none", secret)
	case hasID && !hasSecret:
		faults.add(secret, "is not set, nor is %s_ARN, although %s is; want both, or neither for an endpoint that asks for none", secret, id)
	}
}

func (v *drainVariables) checkIdentityToken(faults *faultList) {
	const name = "GATEWAY_RELAY_IDENTITY_TOKEN"
	v.IdentityToken = relay.NewSecret(strings.TrimSpace(v.IdentityToken.Reveal()))
	switch token := v.IdentityToken.Reveal(); {
	case token == "":
		faults.add(name, "is not set although GATEWAY_RELAY_IDENTITY is env; want the identity token")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		faults.add(name, "has blanks or other characters inside that no token has; want the bare token")
	}
}
