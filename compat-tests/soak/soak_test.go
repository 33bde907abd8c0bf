package soak

import (
	"flag"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	seedFlag    = flag.Uint64("seed", 0, "seed of all choices; 0 takes one at random")
	forFlag     = flag.Duration("for", 0, "how long the soak lasts; 0 is one short round")
	roundFlag   = flag.Duration("round", 6*time.Second, "how long clients come in a round")
	clientsFlag = flag.Int("clients", 60, "clients of a round at a time")
	kindsFlag   = flag.String("kinds", "", "kinds of servers: "+strings.Join(Kinds, ","))
	actionsFlag = flag.String("actions", "", "actions of clients, by their names in the report")
	roundsFlag  = flag.String("rounds", "", "numbers of the rounds to be run, from 0")
)

func TestSoak(t *testing.T) {
	c := Config{
		Seed: *seedFlag, For: *forFlag, Round: *roundFlag, Clients: *clientsFlag,
		Kinds: list(*kindsFlag), Actions: list(*actionsFlag), Out: os.Stdout,
	}
	for c.Seed == 0 {
		c.Seed = uint64(rand.Uint32())
	}
	if c.For == 0 && *seedFlag == 0 {
		c.Seed = 1 // as one test among others it makes the same choices each time
	}
	for _, text := range list(*roundsFlag) {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		c.Rounds = append(c.Rounds, n)
	}
	if c.For == 0 && len(c.Kinds) == 0 {
		c.Kinds = []string{Kinds[c.Seed%uint64(len(Kinds))]}
		c.Round = min(c.Round, time.Second)
	}
	Run(t, c)
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}
