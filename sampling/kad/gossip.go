package kad

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// MaxAnnouncement bounds one announcement in bytes: a light block of 100
	// validators has 25 KiB.
	MaxAnnouncement = 32 << 10

	// nonceSize is the length of the random bytes before every announcement.
	// gossipsub drops what it has seen within two minutes, which would swallow
	// the repetitions of a publisher that nobody heard the first time; with a
	// fresh nonce each repetition is a new message, and repeatAfter decides.
	nonceSize = 8

	// maxGossip bounds what gossipsub reads at once: an announcement and its
	// own control messages.
	maxGossip = 2 * MaxAnnouncement

	// repeatAfter is how soon an announcement is relayed again.
	repeatAfter = 30 * time.Second

	// maxRecent bounds the announcements remembered for repeatAfter.
	maxRecent = 4096

	// maxQueued bounds the announcements waiting for a slow handler.
	maxQueued = 256
)

// ErrRefused reports an announcement that its own node's check does not accept,
// or one too long.
var ErrRefused = errors.New("announcement refused")

// Judgement is what a node makes of an announcement.
type Judgement int

// Only what is accepted is relayed and handled. Reject is for what no honest
// node of the network would accept: it is held against the peer that passed it
// on. Ignore is for all else, also for what the node cannot tell, for example
// because it lags behind; when repeated, the announcement is judged again.
const (
	Reject Judgement = iota
	Ignore
	Accept
)

// gossip is the node's part in the topic of its chain: it decides which
// announcements are relayed.
type gossip struct {
	self  peer.ID
	ps    *pubsub.PubSub
	topic *pubsub.Topic
	check func(msg []byte) Judgement // set before the first message is validated
	count *counts

	mu        sync.Mutex // guards what follows
	listening bool
	recent    map[[32]byte]time.Time // when an announcement was last relayed
}

const topicProtocol = "/granary/announce/1.0.0"

func topicName(chain string) string { return topicProtocol + "/" + chain }

// joinGossip ends with ctx.
func joinGossip(ctx context.Context, h host.Host, chain string, c *counts) (*gossip, error) {
	name := topicName(chain)
	// A peer that passes on four or five rejected announcements is ignored until
	// its score has recovered, in some ten minutes.
	score := &pubsub.PeerScoreParams{
		SkipAtomicValidation: true,
		Topics: map[string]*pubsub.TopicScoreParams{name: {
			SkipAtomicValidation:           true,
			TopicWeight:                    1,
			TimeInMeshQuantum:              time.Second, // unused, but divided by
			InvalidMessageDeliveriesWeight: -1,
			InvalidMessageDeliveriesDecay:  pubsub.ScoreParameterDecay(10 * time.Minute),
		}},
		DecayInterval: time.Second,
		DecayToZero:   0.01,
		RetainScore:   10 * time.Minute,
	}
	thresholds := &pubsub.PeerScoreThresholds{
		SkipAtomicValidation: true,
		GossipThreshold:      -4,
		PublishThreshold:     -9,
		GraylistThreshold:    -16,
	}
	ps, err := pubsub.NewGossipSub(ctx, h,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), // announcements carry their publisher's signature
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithMaxMessageSize(maxGossip),
		pubsub.WithFloodPublish(true),
		pubsub.WithPeerScore(score, thresholds),
		pubsub.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	topic, err := ps.Join(name)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	return &gossip{self: h.ID(), ps: ps, topic: topic, count: c, recent: make(map[[32]byte]time.Time)}, nil
}

// listen subscribes to the topic, once.
func (g *gossip) listen(check func(msg []byte) Judgement) (*pubsub.Subscription, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listening {
		return nil, errors.New("already listening")
	}
	g.check = check
	if err := g.ps.RegisterTopicValidator(g.topic.String(), g.validate); err != nil {
		return nil, err
	}
	sub, err := g.topic.Subscribe(pubsub.WithBufferSize(maxQueued))
	g.listening = err == nil
	return sub, err
}

// messageID makes a message, nonce included, the same message on all its ways.
func messageID(m *pb.Message) string {
	sum := sha256.Sum256(m.GetData())
	return string(sum[:])
}

// Announce gives a message of 1 to MaxAnnouncement bytes to every connected
// node of the network that listens, each of which passes it on. It does not
// wait, and with nobody to hear it nothing happens: repeat it. It returns
// ErrRefused if the node's own check, set by OnAnnounce, does not accept it.
func (h *Host) Announce(ctx context.Context, msg []byte) error {
	if len(msg) == 0 || len(msg) > MaxAnnouncement {
		return fmt.Errorf("%w: %d bytes", ErrRefused, len(msg))
	}
	if !h.enter() {
		return ErrClosed
	}
	defer h.work.Done()
	ctx, cancel := h.within(ctx)
	defer cancel()
	data := make([]byte, nonceSize, nonceSize+len(msg))
	if _, err := rand.Read(data); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	err := h.gossip.topic.Publish(ctx, append(data, msg...))
	var refused pubsub.ValidationError
	if errors.As(err, &refused) {
		return ErrRefused
	}
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return nil
}

// OnAnnounce makes the node listen to announcements, and relay them. check
// judges one, the node's own included: it is called concurrently and must not
// block. A peer that passes on what it rejects loses standing, so it must do
// that by msg and by what all honest nodes of the network agree on. handle is
// then called for each accepted announcement of others, one at a time; it must
// return soon, since those that arrive meanwhile are queued and in the end
// dropped. An announcement accepted and repeated within 30 s is neither relayed
// nor handled again.
//
// OnAnnounce may be called once. Neither function may keep or change msg.
func (h *Host) OnAnnounce(check func(msg []byte) Judgement, handle func(from peer.ID, msg []byte)) error {
	if !h.enter() {
		return ErrClosed
	}
	defer h.work.Done()
	sub, err := h.gossip.listen(check)
	if err != nil {
		return fmt.Errorf("listen to announcements: %w", err)
	}
	h.start(func() {
		defer sub.Cancel()
		for {
			m, err := sub.Next(h.ctx)
			if err != nil {
				return // closing
			}
			if m.ReceivedFrom != h.host.ID() {
				handle(m.ReceivedFrom, m.GetData()[nonceSize:])
			}
		}
	})
	return nil
}

// validate is gossipsub's validator: only what it accepts is relayed.
func (g *gossip) validate(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	result := g.judge(from, m.GetData())
	if from != g.self {
		words := map[pubsub.ValidationResult]string{pubsub.ValidationAccept: "accepted", pubsub.ValidationIgnore: "ignored"}
		g.count.add(topicProtocol, "heard", cmp.Or(words[result], "rejected"), len(m.GetData()))
	}
	return result
}

func (g *gossip) judge(from peer.ID, data []byte) pubsub.ValidationResult {
	if len(data) <= nonceSize || len(data) > nonceSize+MaxAnnouncement {
		return pubsub.ValidationReject
	}
	msg := data[nonceSize:]
	sum := sha256.Sum256(msg)
	if from != g.self && g.isRecent(sum) {
		return pubsub.ValidationIgnore
	}
	switch g.check(msg) {
	case Accept:
		if !g.accept(sum) && from != g.self {
			return pubsub.ValidationIgnore // the same from two peers at once
		}
		return pubsub.ValidationAccept
	case Ignore:
		return pubsub.ValidationIgnore
	}
	return pubsub.ValidationReject
}

func (g *gossip) isRecent(sum [32]byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := g.recent[sum]
	return ok && time.Since(at) < repeatAfter
}

// accept remembers a valid announcement; false if it is a recent one.
func (g *gossip) accept(sum [32]byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if at, ok := g.recent[sum]; ok && now.Sub(at) < repeatAfter {
		return false
	}
	if len(g.recent) >= maxRecent {
		g.drop(now)
	}
	g.recent[sum] = now
	return true
}

// drop makes room: it forgets what is no longer recent, else the oldest.
func (g *gossip) drop(now time.Time) {
	var oldest [32]byte
	first := now
	for sum, at := range g.recent {
		if now.Sub(at) >= repeatAfter {
			delete(g.recent, sum)
		} else if at.Before(first) {
			oldest, first = sum, at
		}
	}
	if len(g.recent) >= maxRecent {
		delete(g.recent, oldest)
	}
}
