package kad

import (
	"io"
	"log/slog"
	"os"
	"sync"

	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/gologshim"
)

// quiet keeps the libraries below off stdout and stderr, which are the
// command's. Their loggers are process-wide and take no injection, so neither
// can this; it must run before the first of them logs.
var quiet = sync.OnceFunc(func() {
	logging.SetupLogging(logging.Config{Level: logging.LevelFatal})
	gologshim.SetDefaultHandler(slog.NewTextHandler(io.Discard, nil))
	// quic-go tells everybody's stderr, once, that the kernel's UDP buffers are small.
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
})
