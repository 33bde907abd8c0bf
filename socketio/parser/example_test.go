package parser_test

import (
	"fmt"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// An event with binary, as it is sent and as it is received.
func Example() {
	type picture struct {
		Name string `json:"name"`
		PNG  []byte `json:"png"`
	}
	data, attachments, err := parser.AppendEvent(nil, nil, "picture", 7, picture{"cat", []byte{1, 2, 3}})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, binary, err := parser.Default.Encode(nil, &parser.Packet{
		Type: parser.Event, Namespace: "/chat", Data: data, Attachments: attachments,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s and %v\n", text, binary)

	decoder := parser.Default.NewDecoder()
	var p parser.Packet
	complete, err := decoder.Add(&p, text, false)
	for _, b := range binary {
		if err == nil {
			complete, err = decoder.Add(&p, b, true)
		}
	}
	if err != nil || !complete {
		fmt.Println(complete, err)
		return
	}
	name, _, _ := parser.EventName(p.Data)
	var number int
	var received picture
	if err := p.Args().Bind(&number, &received); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s %d %+v\n", name, number, received)
	// Output:
	// 51-/chat,["picture",7,{"name":"cat","png":{"_placeholder":true,"num":0}}] and [[1 2 3]]
	// picture 7 {Name:cat PNG:[1 2 3]}
}

// Arguments can be sent on without decoding them.
func ExampleArgs_Values() {
	var p parser.Packet
	if _, err := parser.Default.NewDecoder().Add(&p, []byte(`2["message",{"text":"hi"},1]`), false); err != nil {
		fmt.Println(err)
		return
	}
	data, _, err := parser.AppendEvent(nil, nil, "message-back", p.Args().Values()...)
	fmt.Println(string(data), err)
	// Output: ["message-back",{"text":"hi"},1] <nil>
}
