package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// curves are those of the connectors' certificates, of the root's key as well as the server's.
var curves = []elliptic.Curve{elliptic.P256(), elliptic.P384()}

// encryptedShares are the CPU's shares of both functions with 128, 256, 512 and 1769 MB.
var encryptedShares = []cpu{{0.07, 0.07}, {0.14, 0.14}, {0.28, 0.28}, {1, 1}}

// encrypted is the part of figure (f) with TLS 1.3 and a table: the connector's certificate verifies against the system's
// roots, to which a root of this run is added. The bare client does the same handshake, and has no table.
func (b *bench) encrypted(ctx context.Context) ([]figure, error) {
	table := newSlowTable(lambdaTableLatency)
	defer table.close()
	var figures []figure
	for _, curve := range curves {
		authority, err := b.newAuthority(curve)
		if err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
		for _, share := range encryptedShares {
			measured, err := b.pokesAt(ctx, poking{share: share, rtt: addedRTT, authority: authority, table: table})
			if err != nil {
				return nil, fmt.Errorf("TLS %s, %v: %w", curve.Params().Name, share, err)
			}
			figures = append(figures, measured...)
		}
	}
	return figures, nil
}

// authority issues the certificate of the connector of this run.
type authority struct {
	curve string
	cert  tls.Certificate // for 127.0.0.1
	pool  *x509.CertPool  // the system's roots and this one
	file  string          // the same as a bundle
}

var bundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}

func (b *bench) newAuthority(curve elliptic.Curve) (*authority, error) {
	var system []byte
	for _, file := range bundles {
		if bundle, err := os.ReadFile(file); err == nil {
			system = bundle
			break
		}
	}
	if system == nil {
		return nil, errors.New("there is no bundle of the system's roots: install ca-certificates")
	}
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench " + curve.Params().Name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "connector"},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootKey, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, err
	}
	serverKey, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, err
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &rootKey.PublicKey, rootKey)
	if err != nil {
		return nil, err
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, root, &serverKey.PublicKey, rootKey)
	if err != nil {
		return nil, err
	}
	bundle := append(system, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})...)
	a := &authority{
		curve: curve.Params().Name,
		cert:  tls.Certificate{Certificate: [][]byte{serverDER}, PrivateKey: serverKey},
		pool:  x509.NewCertPool(),
		file:  filepath.Join(b.dir, curve.Params().Name+".pem"),
	}
	a.pool.AppendCertsFromPEM(bundle)
	return a, os.WriteFile(a.file, bundle, 0o600)
}

// config is the server's.
func (a *authority) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.cert}, NextProtos: []string{"http/1.1"}}
}
