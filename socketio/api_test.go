package socketio

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/engineio"
)

const module = "github.com/myriad-rt/myriad/"

// source is a package as it stands in its files, tests excluded.
type source struct {
	path    string
	types   map[string]*ast.TypeSpec
	methods map[string][]*ast.FuncDecl // by the name of the receiver's type
	funcs   []*ast.FuncDecl
	values  []*ast.ValueSpec
	bare    []string                       // exported names without a comment
	imports map[ast.Node]map[string]string // by declaration: paths by name
}

// load reads the package of this module with this path, which is relative to the module.
func load(t *testing.T, dir string) *source {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	s := &source{
		path: module + dir, types: map[string]*ast.TypeSpec{}, methods: map[string][]*ast.FuncDecl{},
		imports: map[ast.Node]map[string]string{},
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		s.read(f)
	}
	return s
}

func (s *source) read(f *ast.File) {
	imports := map[string]string{}
	for _, i := range f.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		imports[path.Base(p)] = p
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			s.imports[d] = imports
			receiver := ""
			if d.Recv == nil {
				s.funcs = append(s.funcs, d)
			} else {
				receiver = receiverName(d)
				s.methods[receiver] = append(s.methods[receiver], d)
			}
			if d.Doc == nil && d.Name.IsExported() && (receiver == "" || ast.IsExported(receiver) || receiver == "space") {
				s.bare = append(s.bare, receiver+"."+d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					s.imports[spec] = imports
					s.types[spec.Name.Name] = spec
					if spec.Name.IsExported() && spec.Doc == nil && d.Doc == nil {
						s.bare = append(s.bare, spec.Name.Name)
					}
				case *ast.ValueSpec:
					s.imports[spec] = imports
					s.values = append(s.values, spec)
					if spec.Names[0].IsExported() && spec.Doc == nil && spec.Comment == nil && d.Doc == nil {
						s.bare = append(s.bare, spec.Names[0].Name)
					}
				}
			}
		}
	}
}

func receiverName(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if index, ok := t.(*ast.IndexExpr); ok {
		t = index.X
	}
	return t.(*ast.Ident).Name
}

// mentions calls f with the path and the name of each exported type of this module that node, a part of the declaration
// of at, mentions where users see it.
func (s *source) mentions(node, at ast.Node, f func(pkg, name string)) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt: // the body of a function
			return false
		case *ast.Field:
			if len(n.Names) == 0 || n.Names[0].IsExported() || !inStruct(node, n) {
				s.mentions(n.Type, at, f)
			}
			return false
		case *ast.SelectorExpr:
			if pkg, ok := n.X.(*ast.Ident); ok && strings.HasPrefix(s.imports[at][pkg.Name], module) {
				f(s.imports[at][pkg.Name], n.Sel.Name)
			}
			return false
		case *ast.Ident:
			if s.types[n.Name] != nil && n.IsExported() {
				f(s.path, n.Name)
			}
		}
		return true
	})
}

// inStruct reports whether field is one of a struct in node, and not a parameter.
func inStruct(node ast.Node, field *ast.Field) (yes bool) {
	ast.Inspect(node, func(n ast.Node) bool {
		if st, ok := n.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				yes = yes || f == field
			}
		}
		return true
	})
	return yes
}

// use calls f with the exported types of this module that the type's declaration and its methods mention.
func (s *source) use(typ string, f func(pkg, name string)) {
	spec := s.types[typ]
	s.mentions(spec.Type, spec, f)
	for _, m := range s.methods[typ] {
		if m.Name.IsExported() {
			s.mentions(m.Type, m, f)
		}
	}
}

// seams are types that a program needs only if it makes adapters or parsers, or works with the engine: it imports their
// packages anyway. Others are compared with constants and never declared, or belong to transports.
var seams = map[string]bool{
	"adapter.Adapter": true, "adapter.Factory": true, "parser.Parser": true, "engineio.Server": true,
	"engineio.State": true, "engineio.Code": true, "packet.Type": true,
	"transport.Format": true, "transport.Deflater": true,
}

// TestNames checks that each exported name has a comment, and that all types that users of this package meet have a name
// in it.
func TestNames(t *testing.T) {
	s := load(t, "socketio")
	for _, name := range s.bare {
		t.Errorf("%s has no comment", name)
	}
	aliases := map[string]bool{} // types of other packages with a name in this one
	for name, spec := range s.types {
		if sel, ok := spec.Type.(*ast.SelectorExpr); ok && spec.Assign.IsValid() && ast.IsExported(name) {
			aliases[path.Base(s.imports[spec][sel.X.(*ast.Ident).Name])+"."+sel.Sel.Name] = true
		}
	}
	check := func(where string) func(pkg, name string) {
		return func(pkg, name string) {
			full := path.Base(pkg) + "." + name
			if pkg != s.path && !aliases[full] && !seams[full] {
				t.Errorf("%s mentions %s, which has no name here", where, full)
			}
		}
	}
	loaded := map[string]*source{}
	for name, spec := range s.types {
		if !ast.IsExported(name) && name != "space" {
			continue
		}
		if sel, ok := spec.Type.(*ast.SelectorExpr); ok && spec.Assign.IsValid() {
			pkg := s.imports[spec][sel.X.(*ast.Ident).Name]
			if loaded[pkg] == nil {
				loaded[pkg] = load(t, strings.TrimPrefix(pkg, module))
			}
			loaded[pkg].use(sel.Sel.Name, check(name))
		} else {
			s.use(name, check(name))
		}
	}
	for _, f := range s.funcs {
		if f.Name.IsExported() {
			s.mentions(f.Type, f, check(f.Name.Name))
		}
	}
}

// TestEngineOptions sets each option that both layers have and checks that it reaches the other layer.
func TestEngineOptions(t *testing.T) {
	var o Options
	v := reflect.ValueOf(&o).Elem()
	for i := range v.NumField() {
		set(t, v.Field(i))
	}
	got := reflect.ValueOf(o.engine(func(*Session) engineio.Handler { return nil })).Elem()
	for i := range got.NumField() {
		name := got.Type().Field(i).Name
		own := v.FieldByName(name)
		switch {
		case name == "OnSession":
		case !own.IsValid():
			t.Errorf("%s is no option here", name)
		case got.Field(i).Kind() == reflect.Func:
			if got.Field(i).Pointer() != own.Pointer() {
				t.Errorf("%s is not copied", name)
			}
		case !reflect.DeepEqual(got.Field(i).Interface(), own.Interface()) || got.Field(i).IsZero():
			t.Errorf("%s is not copied: %v", name, got.Field(i))
		}
	}
}

// set gives v a value other than zero.
func set(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.String:
		v.SetString("x")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Struct:
		set(t, v.Field(0))
	case reflect.Func:
		v.Set(reflect.MakeFunc(v.Type(), func([]reflect.Value) []reflect.Value { panic("not to be called") }))
	case reflect.Interface: // not copied
	default:
		t.Fatalf("a value of kind %s", v.Kind())
	}
}
