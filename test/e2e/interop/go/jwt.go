package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// claims are those of a token that the proxy looks at.
type claims struct {
	Tunnel    string `json:"tid"`
	Expires   int64  `json:"exp"`
	NotBefore int64  `json:"nbf"`
}

// verify checks a token of HS256, signed with one of the secrets, for a tunnel.
func verify(token, tunnel string, secrets []string, now time.Time) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("not a token")
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	if err := decodePart(parts[0], &header); err != nil || header.Algorithm != "HS256" {
		return errors.New("not signed with HS256")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !signedByOne(parts[0]+"."+parts[1], signature, secrets) {
		return errors.New("signed with another secret")
	}
	var c claims
	switch err := decodePart(parts[1], &c); {
	case err != nil:
		return err
	case c.Tunnel != tunnel:
		return errors.New("for another tunnel")
	case now.Unix() >= c.Expires:
		return errors.New("expired")
	case now.Unix() < c.NotBefore:
		return errors.New("not valid yet")
	}
	return nil
}

func decodePart(part string, into any) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func signedByOne(text string, signature []byte, secrets []string) bool {
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(text))
		if hmac.Equal(mac.Sum(nil), signature) {
			return true
		}
	}
	return false
}
