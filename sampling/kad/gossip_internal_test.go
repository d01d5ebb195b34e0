package kad

import (
	"encoding/hex"
	"testing"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

// The vector of docs/spec/protocols.md.
func TestAnnouncementVector(t *testing.T) {
	m := &pb.Message{Data: append([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 'a')}
	if got, want := hex.EncodeToString([]byte(messageID(m))), "c114045475a31b1287dcd40dd00f8a9c24fb9ec85bc8798a3cdada39c396c612"; got != want {
		t.Errorf("message ID %s, want %s", got, want)
	}
	if got, want := topicName("net"), "/granary/announce/1.0.0/net"; got != want {
		t.Errorf("topic %s, want %s", got, want)
	}
}
