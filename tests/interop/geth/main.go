// Command geth is a go-ethereum devp2p peer that a test drives: commands come in
// as JSON lines on standard input, what happened goes out as JSON lines on
// standard output. See README.md.
package main

import (
	"crypto/ecdsa"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
)

const usage = `usage: geth peer [CONFIG-JSON]
       geth raw [CONFIG-JSON]
       geth bench [CONFIG-JSON]
Commands are read from standard input, events are written to standard output, one JSON object a line.`

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	config := "{}"
	if len(os.Args) == 3 {
		config = os.Args[2]
	}
	out := newOutput(os.Stdout)
	var err error
	switch os.Args[1] {
	case "peer":
		err = runPeer([]byte(config), os.Stdin, out)
	case "raw":
		err = runRaw([]byte(config), os.Stdin, out)
	case "bench":
		err = runEndpoint([]byte(config), os.Stdin, out)
	default:
		err = fmt.Errorf("unknown mode %q\n%s", os.Args[1], usage)
	}
	if err != nil {
		out.emit("fatal", object{"error": err.Error()})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// parseKey reads a private key in hex, or makes one when there is none.
func parseKey(text string) (*ecdsa.PrivateKey, error) {
	if text == "" {
		return crypto.GenerateKey()
	}
	return crypto.HexToECDSA(strings.TrimPrefix(text, "0x"))
}

// parsePublicKey reads the 64 bytes X || Y in hex.
func parsePublicKey(text string) (*ecdsa.PublicKey, error) {
	raw, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if err != nil {
		return nil, err
	}
	return crypto.UnmarshalPubkey(append([]byte{4}, raw...))
}

// publicKeyHex is the 64-byte identity, X || Y, as Hello carries it.
func publicKeyHex(key *ecdsa.PublicKey) string {
	return hex.EncodeToString(crypto.FromECDSAPub(key)[1:])
}
