package pgtest

// Binaries finds the server's programs, with a given pattern for Debian's packages.
var Binaries = binaries

// At returns a Server whose socket in the directory belongs to the test.
func At(dir string) *Server { return &Server{dir: dir} }
