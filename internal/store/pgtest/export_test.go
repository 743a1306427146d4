package pgtest

// Binaries looks for the programs with another place of Debian's packages.
var Binaries = binaries

// At is a server that somebody else plays, on the socket in the directory.
func At(dir string) *Server { return &Server{dir: dir} }
