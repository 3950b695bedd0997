"""Speed, memory, compile time and accuracy, each beside what it is compared with."""
