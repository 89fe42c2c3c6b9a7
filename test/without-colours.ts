// What tests read has no colours, whatever the surroundings (CI, FORCE_COLOR) ask for: neither here nor in child processes.
delete process.env.FORCE_COLOR;
process.env.NO_COLOR = "1";
