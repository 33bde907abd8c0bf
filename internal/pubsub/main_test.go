package pubsub

import (
	"testing"

	"github.com/myriad-rt/myriad/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
