package redispubsub

import (
	"testing"

	"github.com/myriad-rt/myriad/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
