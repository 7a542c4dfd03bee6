package main

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/ecies"
)

// sealShort is an ECIES ciphertext whose tag is right but whose encrypted part, IV
// included, is size bytes. Below 16 there is no whole IV, which package ecies never makes.
func sealShort(remote *ecdsa.PublicKey, size int) ([]byte, error) {
	to := ecies.ImportECDSAPublic(remote)
	ephemeral, err := ecies.GenerateKey(rand.Reader, crypto.S256(), nil)
	if err != nil {
		return nil, err
	}
	shared, err := ephemeral.GenerateShared(to, 16, 16)
	if err != nil {
		return nil, err
	}
	// The key derivation of NIST SP 800-56, one round: a counter, then the secret.
	keys := sha256.Sum256(append([]byte{0, 0, 0, 1}, shared...))
	macKey := sha256.Sum256(keys[16:])
	prefix := binary.BigEndian.AppendUint16(nil, uint16(65+size+32))
	encrypted := make([]byte, size)
	tag := hmac.New(sha256.New, macKey[:])
	tag.Write(encrypted)
	tag.Write(prefix)
	packet := append(prefix, crypto.FromECDSAPub(ephemeral.PublicKey.ExportECDSA())...)
	return tag.Sum(append(packet, encrypted...)), nil
}
